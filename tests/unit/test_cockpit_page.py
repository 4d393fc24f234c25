"""The package of the Cockpit page: what Cockpit demands of it, as far as its files show it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nodedevd import socket_paths
from tests.support import cockpit_style, cockpit_texts
from tests.support.cockpit_texts import LANGUAGES, PAGE, Text

SCRIPTS = sorted(path for path in PAGE.rglob("*.js") if not path.name.startswith("po."))
OF_COCKPIT = {"../base1/cockpit.js", "../manifests.js", "../base1/po.js", "po.js"}
LAYERS = ("nodedevd.js", "views", "changes", "host", "varlink", "page")
"""The entry and the folders: each imports what stands after it, and its own."""


class Page(HTMLParser):
    """What index.html refers to, and its inline scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = dict(attrs)
        self.references += [value for name in ("src", "href") if (value := given.get(name))]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]


def test_manifest_names_the_page_and_the_sockets_of_the_services() -> None:
    """No path is a condition of the menu's entry: a hidden page cannot say what is missing."""
    manifest = json.loads((PAGE / "manifest.json").read_text())
    assert manifest["requires"] == {"cockpit": "287"}
    assert "conditions" not in manifest
    assert set(manifest["menu"]) == {"index"}
    assert manifest["socket"] == f"/run/nodedevd/{socket_paths.INTERFACE}"
    assert manifest["control"] == socket_paths.CONTROL_SOCKET_PATH
    assert manifest["command"] == ["nodedevctl"]


def test_page_keeps_to_the_security_policy_of_cockpit() -> None:
    """No inline script or style, and nothing from elsewhere; the policy is not loosened."""
    page = Page()
    page.feed((PAGE / "index.html").read_text())
    assert page.inline == []
    for reference in page.references:
        assert reference in OF_COCKPIT or (PAGE / reference).is_file(), reference
    assert "content-security-policy" not in (PAGE / "manifest.json").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_script_makes_no_markup_of_text(script: Path) -> None:
    """Names of devices are hostile: they become text, and nothing runs or styles by a string."""
    source = script.read_text()
    for forbidden in (
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("),
        *(".style.", '"style"', "cssText", "foreignObject", "http://localhost", "https://"),
    ):
        assert forbidden not in source, forbidden


def test_scripts_import_files_that_there_are_and_downwards() -> None:
    """Folders import what stands below them; the codec imports nothing at all."""
    for script in SCRIPTS:
        place = script.relative_to(PAGE)
        for target in re.findall(r'from "([^"]+)"', script.read_text()):
            found = (script.parent / target).resolve()
            assert found.is_file(), (place, target)
            above = LAYERS.index(place.parts[0])
            below = LAYERS.index(found.relative_to(PAGE.resolve()).parts[0])
            assert above <= below, (place, target)
    assert "import" not in (PAGE / "varlink/frames.js").read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_complete_and_up_to_date(language: str) -> None:
    """If this fails: python -m tests.support.cockpit_texts, and translate what it names."""
    for path, content in cockpit_texts.files(language).items():
        assert path.read_text(encoding="utf-8") == content, path
    translations = cockpit_texts.read_po(cockpit_texts.po_file(language).read_text("utf-8"))
    assert set(translations) == set(cockpit_texts.texts())
    for text, forms in translations.items():
        assert all(forms), text
        for form in forms:
            assert set(re.findall(r"\$\d", form)) == set(re.findall(r"\$\d", text.one)), text


def test_style_of_the_picture_is_that_of_the_drawing() -> None:
    """If this fails: python -m tests.support.cockpit_style."""
    assert cockpit_style.FILE.read_text() == cockpit_style.content()


def test_texts_are_found_in_all_forms() -> None:
    """In scripts with and without a plural, over several lines; in HTML; in the manifest."""
    found = cockpit_texts.texts()
    for text in (
        Text("Node devices", None),
        Text("$0 device", "$0 devices"),
        Text("No device matches the filter.", None),
    ):
        assert text in found


def test_every_visible_text_of_the_scripts_is_marked_for_translation() -> None:
    """A sentence in a script is the argument of _() or ngettext(), or of an error for programs."""
    marked = {part for text in cockpit_texts.texts() for part in text if part}
    for script in SCRIPTS:
        source = re.sub(r"/\*.*?\*/|//[^\n]*", "", script.read_text(), flags=re.DOTALL)
        for sentence in re.findall(r'"([A-Z][a-z]+ [^"]*|[A-Z][a-z]{3,})"', source):
            known = sentence in marked or re.search(
                rf"(?:Error\(|method: |Listener\(|call\(|#ask\(){re.escape(f'{sentence}')}", source
            )
            assert known or sentence in _NO_TEXTS, (script.name, sentence)


_NO_TEXTS = {"Create", "Start", "Stop", "Remove", "List"}
"""Methods of the control service."""
