"""Files of layout.d: which of them count, what they say, and what is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import MdevAttribute
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.files import FILE_BYTES, FILES, declared, read_layout
from nodedevd.layout.form import json_schema
from nodedevd.layout.problem import Code, Problem
from nodedevd.layout.wanted import Match, WantedCard, WantedMdev, WantedVgpus
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree

UUID = "4b20d080-1b54-4048-85b3-a6a62d165c01"
CARD = '[[card]]\naddress = "0000:3b:00.0"\n'


def problems_of(text: str) -> tuple[Problem, ...]:
    """Return what is wrong with one file."""
    return declared([("a.toml", text)]).problems


def test_file_says_everything_that_it_can() -> None:
    """Every key has its place in the layout."""
    text = f"""
[[card]]
address = "3B:00.0"
virtual_functions = 8
spare = 2
remove_unnamed = true
keep = true
vgpus = [{{ type = "A2-4Q", count = 2 }}, {{ type = "A2-2Q", functions = [4], placement = [8] }}]
[[card.mdevs]]
uuid = "{UUID.upper()}"
type = "nvidia-746"
function = 5
autostart = false
attributes = ["nvidia/vgpu_params=a=b"]
[[card]]
vendor = "0X10DE"
product = "0x25b6"
driver = "vfio-pci"
virtual_functions = "all"
[[card]]
slots = "pci0000:3a/00.0/02.0"
[[card]]
parent = "matrix"
mdevs = [{{ uuid = "{UUID.replace("4", "5")}", type = "x", active = false }}]
"""
    found = declared([("a.toml", text)])
    assert found.problems == ()
    first, model, slots, matrix = found.layout.cards
    assert first == WantedCard(
        file="a.toml",
        line=2,
        match=Match(address="0000:3b:00.0"),
        virtual_functions=8,
        vgpus=(WantedVgpus("A2-4Q", 2), WantedVgpus("A2-2Q", 1, (8,), (4,))),
        mdevs=(
            WantedMdev(
                *(UUID, "nvidia-746", 5),
                autostart=False,
                attributes=(MdevAttribute("nvidia/vgpu_params", "a=b"),),
            ),
        ),
        spare=2,
        remove_unnamed=True,
        keep=True,
        lines=first.lines,
    )
    assert first.line_of(("vgpus", 1, "placement")) == 8
    assert first.line_of(("mdevs", 0, "attributes", 0)) == 14
    assert (model.match, model.driver) == (Match(vendor="0x10de", product="0x25b6"), "vfio-pci")
    assert model.virtual_functions == "all"
    assert slots.match == Match(slots="pci0000:3a/00.0/02.0")
    assert matrix.mdevs[0].active is False


WRONG: dict[str, tuple[str, int | None, str | None, Code, str]] = {
    "no TOML": (f"{CARD}driver = vfio-pci\n", 3, None, "malformed", "correct this line"),
    "the end is missing": (f'{CARD}driver = """\n', 4, None, "malformed", "correct this line"),
    "a key twice": (f"{CARD}spare = 1\nspare = 1\n", 4, None, "malformed", "correct this line"),
    "nested too deeply": (f"x = {'[' * 20000}", None, None, "malformed", "correct it"),
    "a key with many dots": (f"# c\n{'a.' * 99}a = 1", 2, None, "malformed", "write [[card]]"),
    "another table": ("[cards]\n", 1, "cards", "unknown-key", "[[card]]"),
    "one table": ('# c\n[card]\naddress = "3b:00.0"\n', 2, "card", "bad-value", "[[card]]"),
    "an unknown key": (f"{CARD}\nvgpu = []\n", 4, "vgpu", "unknown-key", "write vgpus"),
    "an unknown key inside": (
        f'{CARD}vgpus = [\n{{ type = "a" }},\n{{ typ = "a" }},\n]\n',
        *(5, "vgpus[1].typ", "unknown-key", "write type"),
    ),
    "no type": (
        f"{CARD}[[card.vgpus]]\ncount = 2\n",
        *(3, "vgpus[0]", "missing-key", 'type = "NVIDIA A2-4Q"'),
    ),
    "a number as text": (
        f'{CARD}[[card.vgpus]]\ntype = "a"\ncount = "2"\n',
        *(5, "vgpus[0].count", "bad-value", "count = 2"),
    ),
    "a count of none": (
        f'{CARD}vgpus = [{{ type = "a", count = 0 }}]\n',
        *(3, "vgpus[0].count", "bad-value", "count = 2"),
    ),
    "a word that is none": (
        f'{CARD}virtual_functions = "most"\n',
        *(3, "virtual_functions", "bad-value", 'virtual_functions = 4, or "all"'),
    ),
    "no card": ("[[card]]\nspare = 1\n", 1, None, "no-match", "add address"),
    "a card in two ways": (
        f'{CARD}parent = "mtty"\n',
        *(3, "parent", "several-matches", "keep one of them"),
    ),
    "half a model": ('[[card]]\nvendor = "0x10de"\n', 2, "vendor", "no-match", "add product"),
    "no PCI id": (
        '[[card]]\nvendor = "10de"\nproduct = "0x25b6"\n',
        *(2, "vendor", "bad-value", 'vendor = "0x10de"'),
    ),
    "no address": (
        '[[card]]\naddress = "3b:00"\n',
        *(2, "address", "bad-value", 'address = "0000:3b:00.0"'),
    ),
    "no slots": (
        '[[card]]\nslots = "3a/00.0"\n',
        *(2, "slots", "bad-value", "nodedevctl layout show --by slots"),
    ),
    "an address as parent": (
        '[[card]]\nparent = "3b:00.0"\n',
        *(2, "parent", "bad-value", 'address = "0000:3b:00.0"'),
    ),
    "a parent that leads out": ('[[card]]\nparent = "../x"\n', 2, "parent", "bad-value", "mtty"),
    "a driver that is a path": (f'{CARD}driver = "a/b"\n', 3, "driver", "bad-value", "vfio-pci"),
    "functions of nothing": (
        f'{CARD}virtual_functions = 0\ndriver = "vfio-pci"\n',
        *(4, "driver", "contradiction", "leave it out"),
    ),
    "vGPUs of VFIO": (
        f'{CARD}driver = "vfio-pci"\nvgpus = [{{ type = "a" }}]\n',
        *(3, "driver", "contradiction", "leave it out"),
    ),
    "functions of an mdev parent": (
        '[[card]]\nparent = "mtty"\nvirtual_functions = 2\n',
        *(3, "virtual_functions", "contradiction", "leave it out"),
    ),
    "more spare than there are": (
        f"{CARD}spare = 5\nvirtual_functions = 4\n",
        *(3, "spare", "does-not-fit", "write 4 at the most"),
    ),
    "more vGPUs than functions": (
        f'{CARD}virtual_functions = 4\nspare = 1\nvgpus = [{{ type = "a", count = 4 }}]\n',
        *(3, "virtual_functions", "does-not-fit", "give 5 or more, or fewer vGPUs"),
    ),
    "a function that is spare": (
        f'{CARD}virtual_functions = 4\nspare = 1\nvgpus = [{{ type = "a", functions = [3] }}]\n',
        *(5, "vgpus[0].functions[0]", "does-not-fit", "below 3"),
    ),
    "a function for two": (
        f'{CARD}vgpus = [{{ type = "a", functions = [3] }},\n{{ type = "b", functions = [3] }}]\n',
        *(4, "vgpus[1].functions[0]", "contradiction", "another function"),
    ),
    "a placement for two": (
        f'{CARD}vgpus = [{{ type = "a", placement = [0, 0] }}]\n',
        *(3, "vgpus[0].placement", "contradiction", "each once"),
    ),
    "a placement too few": (
        f'{CARD}vgpus = [{{ type = "a", count = 2, placement = [0] }}]\n',
        *(3, "vgpus[0].placement", "contradiction", "give 2, one for each"),
    ),
    "no UUID": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID[:-1]}x" }}]\n',
        *(3, "mdevs[0].uuid", "bad-value", "uuid = "),
    ),
    "a UUID for every card of a model": (
        f'[[card]]\nvendor="0x10de"\nproduct="0x25b6"\nmdevs=[{{ type="a", uuid="{UUID}" }}]\n',
        *(4, "mdevs", "contradiction", "by address or slots"),
    ),
    "an attribute without value": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID}", attributes = [\n"a"] }}]\n',
        *(4, "mdevs[0].attributes[0]", "bad-value", "assign_adapter=5"),
    ),
    "an attribute that leads out": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID}", attributes = ["../a=1"] }}]\n',
        *(3, "mdevs[0].attributes[0]", "bad-value", "assign_adapter=5"),
    ),
    "autostart of nothing": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID}", define = false, autostart = true }}]\n',
        *(3, "mdevs[0].autostart", "contradiction", "leave autostart or define out"),
    ),
    "an mdev that is nothing": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID}", define = false, active = false }}]\n',
        *(3, "mdevs[0].define", "contradiction", "leave the mdev out"),
    ),
    "a card twice": (
        f'{CARD}\n[[card]]\naddress = "3b:00.0"\n',
        *(4, None, "claimed-twice", "keep it in one place"),
    ),
    "a UUID twice": (
        f'{CARD}mdevs = [{{ type = "a", uuid = "{UUID}" }},\n{{ type = "b", uuid = "{UUID}" }}]\n',
        *(4, "mdevs[1].uuid", "claimed-twice", "keep it in one place"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_file_is_told_with_line_and_key_and_what_to_write(case: str) -> None:
    """And a file with a problem wants nothing."""
    text, line, key, code, instead = WRONG[case]
    found = declared([("a.toml", text)])
    [problem] = found.problems
    assert (problem.file, problem.line, problem.key, problem.code) == ("a.toml", line, key, code)
    assert instead in problem.instead
    assert problem.message
    assert found.layout.cards == ()


def test_every_unknown_key_is_told() -> None:
    """One run shows them all."""
    found = problems_of("[[card]]\nadress = 1\n[[card]]\nvgpus = [{ cont = 1 }]\n")
    assert [(one.line, one.key) for one in found] == [(2, "adress"), (4, "vgpus[0].cont")]
    assert str(found[0]) == "a.toml:2: adress: there is no key adress; write address"


def test_wrong_file_costs_only_its_own_cards() -> None:
    """And of a card that two files want, neither gets it."""
    found = declared(
        [
            ("a.toml", CARD),
            ("b.toml", "[[card]]\n"),
            ("c.toml", '[[card]]\naddress = "0000:3b:00.0"\n[[card]]\nparent = "mtty"\n'),
        ]
    )
    assert [one.match for one in found.layout.cards] == [Match(parent="mtty")]
    assert [(one.file, one.code) for one in found.problems] == [
        ("b.toml", "no-match"),
        ("c.toml", "claimed-twice"),
    ]
    assert "a.toml:1" in found.problems[1].message
    assert found.files == ("a.toml", "b.toml", "c.toml")


ETC, RUN, USR = DIRECTORIES


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """Return a host without a layout."""
    tree = Tree(tmp_path)
    tree.directory("/sys/devices")
    return tree


def test_file_of_the_stronger_directory_replaces_the_other(host: Tree) -> None:
    """As drop-ins of systemd; a link to /dev/null leaves a file out, and so does an empty one."""
    for directory in (USR, RUN, ETC):
        for name in ("a.toml", "b.toml", "c.toml", "d.toml", "e.conf", ".f.toml"):
            parent = f"{name}-{directory.split('/')[1]}"
            host.file(f"{directory}/{name}", f'[[card]]\nparent = "{parent}"\n')
    host.remove(f"{ETC}/b.toml")
    host.remove(f"{ETC}/c.toml")
    host.link(f"{ETC}/c.toml", "/dev/null")
    host.file(f"{ETC}/d.toml", "")
    found = read_layout(Sysroot(host.root))
    assert found.problems == ()
    assert [one.match.parent for one in found.layout.cards] == ["a.toml-etc", "b.toml-run"]
    assert found.files == (f"{ETC}/a.toml", f"{RUN}/b.toml", f"{ETC}/d.toml")


def test_host_without_files_wants_nothing(host: Tree) -> None:
    """None of the directories has to be there."""
    found = read_layout(Sysroot(host.root))
    assert (found.layout.cards, found.problems, found.files) == ((), (), ())


def test_file_that_cannot_be_used_is_a_problem(host: Tree) -> None:
    """A directory, a link to nowhere, too many bytes, no UTF-8; the others count."""
    host.directory(f"{ETC}/a.toml")
    host.link(f"{ETC}/b.toml", "missing")
    host.file(f"{ETC}/c.toml", b"#" * (FILE_BYTES + 1))
    host.file(f"{ETC}/d.toml", b"# \n# \xff\n")
    host.file(f"{ETC}/e.toml", CARD)
    found = read_layout(Sysroot(host.root))
    assert [(one.file, one.line, one.code) for one in found.problems] == [
        (f"{ETC}/a.toml", None, "unreadable"),
        (f"{ETC}/b.toml", None, "unreadable"),
        (f"{ETC}/c.toml", None, "too-large"),
        (f"{ETC}/d.toml", 2, "malformed"),
    ]
    assert len(found.layout.cards) == 1


def test_file_that_others_may_change_is_not_read(host: Tree) -> None:
    """Nor is one that others may swap by a link on the way to it; the others count."""
    host.file(f"{ETC}/a.toml", CARD)
    os.chmod(host.at(f"{ETC}/a.toml"), 0o646)
    host.directory("/home/eve")
    os.chmod(host.at("/home/eve"), 0o777)
    host.link(f"{ETC}/b.toml", "/home/eve/b.toml")
    host.link("/home/eve/b.toml", "/etc/b.toml")
    host.file("/etc/b.toml", CARD)
    host.file(f"{ETC}/c.toml", CARD)
    sysroot = FaultySysroot(host.root)
    found = read_layout(sysroot, by_root_alone=True)
    assert [(one.file, one.code, one.message) for one in found.problems] == [
        (
            f"{ETC}/a.toml",
            "untrusted",
            f"it is not used: {ETC}/a.toml: every user may change it (mode 0646)",
        ),
        (
            f"{ETC}/b.toml",
            "untrusted",
            "it is not used: /home/eve: every user may change it (mode 0777)",
        ),
    ]
    assert [one.file for one in found.layout.cards] == [f"{ETC}/c.toml"]
    assert "/etc/b.toml" not in sysroot.reads


@pytest.mark.parametrize("live", [True, False])
def test_on_this_host_others_must_not_be_able_to_change_a_file(host: Tree, live: bool) -> None:
    """For every reader, as for what acts on it; in a copy of a host, owners say nothing."""
    host.file(f"{ETC}/a.toml", CARD)
    os.chmod(host.at(f"{ETC}/a.toml"), 0o666)
    sysroot = Sysroot(host.root)
    sysroot.live = live
    found = read_layout(sysroot)
    assert [one.code for one in found.problems] == (["untrusted"] if live else [])
    assert len(found.layout.cards) == (0 if live else 1)


def test_files_beyond_the_limit_are_a_problem(host: Tree) -> None:
    """So many that nobody has written them."""
    for number in range(FILES + 1):
        host.file(f"{ETC}/{number:03}.toml", f'[[card]]\nparent = "p{number}"\n')
    found = read_layout(Sysroot(host.root))
    assert [(one.file, one.code) for one in found.problems] == [(f"{ETC}/256.toml", "too-many")]
    assert len(found.layout.cards) == FILES


def test_schema_has_every_key_with_what_it_means() -> None:
    """It is JSON, and closed: an editor shows a misspelt key."""
    schema = json.loads(json.dumps(json_schema()))
    for name in ("CardTable", "VgpusTable", "MdevTable"):
        table = schema["$defs"][name]
        assert table["additionalProperties"] is False
        assert table["description"]
        for key, value in table["properties"].items():
            assert "description" in json.dumps(value) or key in ("vgpus", "mdevs", "uuid")
