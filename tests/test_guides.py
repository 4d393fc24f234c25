"""The examples of the documentation: how they are read, and that they are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guides import Example, Shell, Step, agrees, steps


def console(text: str) -> Example:
    """Return a block as it stands in a document."""
    return Example("console", "", text, "a.md:1")


def test_console_is_read_as_commands_and_what_they_print() -> None:
    """A command may go on for several lines; what is printed may be nothing."""
    text = "$ cat <<END\n> $ a\n> END\n$ a\n$ true\n$ seq 2\n1\n2\n"
    assert steps(text) == [
        Step("cat <<END\n$ a\nEND\n", ""),
        Step("a\n", ""),
        Step("true\n", ""),
        Step("seq 2\n", "1\n2\n"),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("a….c\n", "ab.c\n", True),
        ("a…\n", "a\nb\n", False),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n…\nb\n", "a\n1\n2\nb\n", True),
        ("…\n", "", True),
        ("(a)\n", "a\n", False),
    ],
)
def test_ellipsis_stands_for_what_is_left_out(shown: str, printed: str, expected: bool) -> None:
    """Within a line for any text, alone for any lines; the rest is compared as it is."""
    assert agrees(shown, printed) is expected


def test_console_that_is_true_passes(tmp_path: Path) -> None:
    """Commands share a shell, see the exit status of the one before, and print errors, too."""
    shell = Shell(tmp_path, commands={"greet": ("echo", "hello there,")})
    shell.console(
        console(
            "$ greet you\nhello there, you\n"
            "$ name=value; ls nothing; false\nls: cannot access 'nothing': …\n"
            "$ echo $? $name\n1 value\n"
            "$ nodedevctl --version\nnodedevctl, version …\n"
            "$ cat <<END\n> two\n> lines\n> END\ntwo\nlines\n"
        )
    )


@pytest.mark.parametrize(
    "text", ["$ echo a\nb\n", "$ echo a\n", "$ true\na\n", "$ exit\n$ true\n", "$ echo a\na\nb\n"]
)
def test_console_that_is_not_true_fails(tmp_path: Path, text: str) -> None:
    """Something else, something more or less, or an end before the last command is no pass."""
    with pytest.raises(AssertionError, match=r"a\.md:1"):
        Shell(tmp_path).console(console(text))


def test_program_that_fails_or_warns_is_told(tmp_path: Path) -> None:
    """What a program prints is returned; an exception or a warning is no good end."""
    shell = Shell(tmp_path)
    assert shell.python(Example("python", "", "print(1)", "a.md:1")) == "1\n"
    for text in ("raise SystemExit(2)", "open('/dev/null')"):
        with pytest.raises(AssertionError, match=r"a\.md:1"):
            shell.python(Example("python", "", text, "a.md:1"))
