"""The translations of the Cockpit page, by Cockpit's convention.

    python -m tests.support.cockpit_texts

brings the texts of the page into cockpit/po/*.po, with their translations of before, and makes of
these what Cockpit loads: po.LANGUAGE.js for the page, po.manifest.LANGUAGE.js for its entry in the
menu. A text without a translation is shown in English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.running import REPOSITORY

PAGE = REPOSITORY / "cockpit"
LANGUAGES = ("de",)
PLURAL_FORMS = {"de": ("nplurals=2; plural=(n != 1);", "(n) => n != 1")}
"""For each language, gettext's rule and the same in JavaScript."""

_STRING = r'"((?:[^"\\]|\\.)*)"'
_IN_JAVASCRIPT = re.compile(
    rf"(?<![\w$.])(?:_\(\s*{_STRING}|ngettext\(\s*{_STRING},\s*{_STRING})", re.DOTALL
)
_IN_HTML = re.compile(r'translate="yes"[^>]*>([^<]+)<')
_ENTRY = re.compile(
    r'^msgid ((?:".*"\n)+)(?:msgid_plural ((?:".*"\n)+))?((?:msgstr(?:\[\d\])? (?:".*"\n)+)+)',
    re.MULTILINE,
)
_TRANSLATION = re.compile(r"msgstr(?:\[\d\])? ((?:\".*\"\n)+)")


class Text(NamedTuple):
    """A text, and the one for several things, if it depends on a number."""

    one: str
    several: str | None


Translations = dict[Text, tuple[str, ...]]


def texts() -> dict[Text, str]:
    """Return the texts of the page, each with the first file that has it, in order of these."""
    found: dict[Text, str] = {}
    for path in sorted(PAGE.rglob("*.js")):
        if not path.name.startswith("po."):
            for text in _of_javascript(path.read_text(encoding="utf-8")):
                found.setdefault(text, path.relative_to(PAGE).as_posix())
    for match in _IN_HTML.finditer((PAGE / "index.html").read_text(encoding="utf-8")):
        found.setdefault(Text(match[1], None), "index.html")
    for text in of_manifest():
        found.setdefault(text, "manifest.json")
    return found


def of_manifest() -> list[Text]:
    """Return the texts of the menu."""
    manifest = json.loads((PAGE / "manifest.json").read_text(encoding="utf-8"))
    return [Text(entry["label"], None) for entry in manifest["menu"].values()]


def _of_javascript(source: str) -> Iterator[Text]:
    for match in _IN_JAVASCRIPT.finditer(source):
        alone, one, several = (part and json.loads(f'"{part}"') for part in match.groups())
        yield Text(str(alone or one), several)


def po_file(language: str) -> Path:
    """Return the file of a language's translations."""
    return PAGE / "po" / f"{language}.po"


def read_po(content: str) -> Translations:
    """Return the translations that a .po file has."""
    found = {}
    for one, several, translations in _ENTRY.findall(content):
        text = Text(_joined(one), _joined(several) if several else None)
        if text.one:
            found[text] = tuple(map(_joined, _TRANSLATION.findall(translations)))
    return found


def _joined(strings: str) -> str:
    return "".join(json.loads(line) for line in strings.splitlines())


def write_po(language: str, translations: Translations) -> str:
    """Return the .po file of all texts, with the translations that there are."""
    rule, _ = PLURAL_FORMS[language]
    header = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
        f'"Language: {language}\\n"\n"Plural-Forms: {rule}\\n"\n'
    )
    entries = [header]
    for text, file in texts().items():
        lines = [f"#: {file}", f"msgid {_quoted(text.one)}"]
        translated = translations.get(text, ("", ""))
        if text.several is None:
            lines.append(f"msgstr {_quoted(translated[0])}")
        else:
            lines.append(f"msgid_plural {_quoted(text.several)}")
            lines += [f"msgstr[{number}] {_quoted(form)}" for number, form in enumerate(translated)]
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)


def write_javascript(language: str, translations: Translations) -> str:
    """Return what Cockpit loads: a call of cockpit.locale."""
    _, rule = PLURAL_FORMS[language]
    head = f'"plural-forms": {rule}, "language": "{language}", "language-direction": "ltr"'
    lines = ["cockpit.locale({", f'    "": {{ {head} }},']
    for text, translated in translations.items():
        if all(translated):
            forms = ", ".join(map(_quoted, translated))
            lines.append(f"    {_quoted(text.one)}: [null, {forms}],")
    return "\n".join((*lines, "});\n"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def files(language: str) -> dict[Path, str]:
    """Return the files of a language, with what should be in them."""
    path = po_file(language)
    before = read_po(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = {text: before.get(text, ()) or ("",) for text in texts()}
    menu = {text: now[text] for text in of_manifest()}
    return {
        path: write_po(language, before),
        PAGE / f"po.{language}.js": write_javascript(language, now),
        PAGE / f"po.manifest.{language}.js": write_javascript(language, menu),
    }


def main() -> None:
    """Write the files of all languages."""
    for language in LANGUAGES:
        for path, content in files(language).items():
            path.write_text(content, encoding="utf-8")
        empty = [
            text.one
            for text, forms in read_po(po_file(language).read_text(encoding="utf-8")).items()
            if not all(forms)
        ]
        for text in empty:
            print(f"{po_file(language).relative_to(REPOSITORY)}: not translated: {text}")


if __name__ == "__main__":
    main()
