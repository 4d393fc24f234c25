"""xml_writer: every text becomes XML that a parser reads back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.xml_writer import Out, escape, escape_attribute
from tests.support.xml import parse

ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def test_layout_is_that_of_virsh() -> None:
    """Two blanks a level, single quotes, one element a line, a newline at the end."""
    out = Out(unknown={"attr"})
    with out.begin("device", id="a'b", other='<&>"'):
        out.text("name", 'it\'s <&> "quoted"')
        out.text("number", 0, id="0x0000")
        with out.begin("empty"):
            pass
        with out.begin("one"):
            with out.begin("two"):
                out.empty("three", state="unknown")
            out.value("known", "", "attr")
            out.value("unknown", None, "attr")
            out.value("absent", None, "other")
    assert str(out) == (
        "<device id='a&apos;b' other='&lt;&amp;&gt;&quot;'>\n"
        "  <name>it&apos;s &lt;&amp;&gt; &quot;quoted&quot;</name>\n"
        "  <number id='0x0000'>0</number>\n"
        "  <empty>\n"
        "  </empty>\n"
        "  <one>\n"
        "    <two>\n"
        "      <three state='unknown'/>\n"
        "    </two>\n"
        "    <known></known>\n"
        "    <unknown state='unknown'/>\n"
        "  </one>\n"
        "</device>\n"
    )


def test_depth_indents_all() -> None:
    """A part of a document is indented by its depth."""
    out = Out()
    with out.begin("device"):
        out.text("name", "computer")
        out.text("of", "two\nlines")
    assert str(out) == "<device>\n  <name>computer</name>\n  <of>two\nlines</of>\n</device>\n"
    assert out.at(1) == (
        "  <device>\n    <name>computer</name>\n    <of>two\nlines</of>\n  </device>\n"
    )


def test_what_many_have_is_written_once() -> None:
    """At every depth; a device with unknown values has it written anew."""
    calls = []

    def write(value: str, out: Out) -> None:
        calls.append(value)
        with out.begin("driver"):
            out.value("name", value, "driver")
            out.value("date", None, "date")

    for unknown in ((), (), ("date",)):
        out = Out(unknown=frozenset(unknown))
        out.once(write, "a'b")
        with out.begin("of"):
            out.once(write, "a'b")
        date = "  <date state='unknown'/>\n" if unknown else ""
        once = f"<driver>\n  <name>a&apos;b</name>\n{date}</driver>\n"
        deeper = "".join(f"  {line}" for line in once.splitlines(keepends=True))
        assert str(out) == f"{once}<of>\n{deeper}</of>\n"
    assert len(calls) == 4


def test_element_is_closed_when_its_content_raises() -> None:
    """The text before an exception is well-formed."""
    out = Out()
    with pytest.raises(ValueError, match="no content"), out.begin("device"):
        raise ValueError("no content")
    assert str(out) == "<device>\n</device>\n"


@given(st.text())
def test_text_of_an_element_is_read_back(text: str) -> None:
    """A parser reads the same text, with U+FFFD for what XML cannot represent."""
    out = Out()
    out.text("name", text)
    assert (parse(str(out)).text or "") == ILLEGAL.sub("\ufffd", text)


@given(st.text())
def test_text_of_an_attribute_is_read_back(text: str) -> None:
    """White space is kept, which a parser would otherwise turn into blanks."""
    out = Out()
    out.empty("device", uuid=text)
    assert parse(str(out)).get("uuid") == ILLEGAL.sub("\ufffd", text)


@given(st.lists(st.characters(max_codepoint=0x2F) | st.sampled_from("<>\ufffe\uffff\ud800\udfff")))
def test_text_of_awkward_characters_is_read_back(characters: list[str]) -> None:
    """The same holds for texts of special characters."""
    text = "".join(characters)
    out = Out()
    out.text("name", text, id=text)
    root = parse(str(out))
    assert (root.text or "", root.get("id")) == (ILLEGAL.sub("\ufffd", text),) * 2


@pytest.mark.parametrize("text", ["", "plain", "Gr\u00f6\u00dfe \U0001f5a5", "a\tb\nc"])
def test_harmless_text_is_not_changed(text: str) -> None:
    """Line feeds and tabs between tags are not escaped."""
    assert escape(text) is text


def test_white_space_in_attributes_becomes_references() -> None:
    """A parser turns a raw line feed in an attribute into a blank."""
    assert escape_attribute("a\tb\nc\rd") == "a&#9;b&#10;c&#13;d"
    assert escape("a\tb\nc\rd") == "a\tb\nc&#13;d"
