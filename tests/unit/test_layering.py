"""The layers of nodedevd: imports point down, and each library outside has one door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nodedevd

PACKAGE = Path(nodedevd.__file__).parent

LAYERS = (
    "root < host < kinds < model < tree < formats questions < layout drawing < actions"
    " < client follow server < control metrics publish < cli hook daemon < command"
)
"""Folders from the bottom up; those of one layer never import each other. `root` are the files
beside them that import nothing of nodedevd, `daemon` is the one that wires everything, and
`command` its command line."""
PROGRAM = ("daemon", "command")
ASYNCHRONOUS = {
    "daemon",
    "follow.follower",
    "follow.missed",
    "follow.pending",
    "follow.rereads",
    "follow.retries",
    "follow.shared_look",
    "follow.sources",
    "follow.supervisor",
    "follow.volatile",
    "follow.worker_thread",
    "client.asynchronous_backend",
    "client.fleet.asynchronous",
    "client.fleet.blocking",
    "client.fleet.bucket",
    "client.fleet.mirror",
    "control.daemon",
    "control.workers",
    "metrics.http",
    "metrics.scrapes",
    "metrics.service",
    "publish.publisher",
    "publish.source",
    "server.acceptor",
    "server.connection",
    "server.libvirt.waiting",
    "server.refusals",
    "server.sockets",
    "server.tidying",
    "server.turns",
}
"""Modules that know asyncio."""
COROUTINES = ASYNCHRONOUS | {
    "client.asynchronous",
    "client.asynchronous_caller",
    "client.asynchronous_control",
    "metrics.report",
    "server.libvirt.session",
    "server.libvirt.writes",
    "server.varlink.methods",
}
"""Modules that await: a client its replies, and an answer a fresh reading."""


def modules() -> Iterator[str]:
    """Return every module, without `nodedevd.` in front; packages by their own name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name != "__init__" and path.stem != "__main__":  # commands know how they are typed
            yield name.removesuffix(".__init__")


MODULES = list(modules())


def file_of(module: str) -> Path:
    """Return the file of a module."""
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parse(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def folder(module: str) -> str:
    """Return the folder of a module; a file beside the folders is in `root`, or of `PROGRAM`."""
    top = module.partition(".")[0]
    return top if (PACKAGE / top).is_dir() or top in PROGRAM else "root"


def below(name: str) -> set[str]:
    """Return the folders that a folder may import besides itself."""
    layers = [layer.split() for layer in LAYERS.split(" < ")]
    [own] = [number for number, layer in enumerate(layers) if name in layer]
    return {one for layer in layers[:own] for one in layer}


def imported(module: str) -> frozenset[str]:
    """Return what a module imports, wherever in it: nodedevd's by module, others by package."""
    return imported_in(file_of(module))


@cache
def imported_in(file: Path) -> frozenset[str]:
    """Return the same for its file, which is parsed once."""
    return frozenset(_imported_in(file))


def _imported_in(file: Path) -> Iterator[str]:
    for node in statements(parse(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in inside if name.removeprefix("nodedevd.") in MODULES]
            names = known or [node.module or ""]
        else:
            continue
        for name in names:
            package, _, inner = name.partition(".")
            yield f"nodedevd.{inner}" if package == "nodedevd" else package


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what has statements in it, and these, at any depth; most of a tree are expressions."""
    yield node
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        inner = getattr(node, block, ())
        for one in inner if isinstance(inner, list) else ():
            yield from statements(one)


def nodes(module: str, *words: str) -> Iterator[ast.AST]:
    """Yield all of a module's tree if one of the words is in its text: most need no parsing."""
    text = file_of(module).read_text(encoding="utf-8")
    if any(word in text for word in words):
        yield from ast.walk(ast.parse(text))


def waits(module: str) -> bool:
    """Return whether a module has functions that await."""
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    return any(isinstance(node, waiting) for node in nodes(module, "async", "await"))


def importers(package: str) -> list[str]:
    """Return the modules that import a package from outside."""
    return [module for module in MODULES if package in imported(module)]


def upward(module: str) -> set[str]:
    """Return what a module imports from neither its own folder nor one below."""
    own = folder(module)
    inner = {name.removeprefix("nodedevd.") for name in imported(module) if "nodedevd." in name}
    allowed = below(own) | ({own} if own != "root" else set())
    return {name for name in inner if name and folder(name) not in allowed}


def test_modules_import_only_from_below() -> None:
    """A folder imports itself and the folders below it."""
    assert {module: names for module in MODULES if (names := upward(module))} == {}


def test_every_folder_is_in_a_layer() -> None:
    """A new folder is put into LAYERS, above all that it imports."""
    named = LAYERS.replace("<", "").split()
    assert sorted(named) == sorted({*map(folder, MODULES)})


@pytest.mark.parametrize(
    "name", sorted({folder(module) for module in MODULES} - {"root", *PROGRAM})
)
def test_folder_says_what_may_enter_it(name: str) -> None:
    """The first line of its `__init__` is a sentence."""
    first = (ast.get_docstring(parse(file_of(name))) or "").partition("\n")[0]
    assert first.startswith(f"{name}: ")
    assert first.endswith(".")


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("nats", {"client.fleet.bucket"}),
        ("nkeys", {"client.fleet.login"}),
        ("lxml", {"server.libvirt.mdev_document", "xmltree"}),
        ("h11", {"metrics.http"}),
        ("prometheus_client", {"metrics.text"}),
        ("pyudev", {"host.events.udev"}),
    ],
)
def test_library_outside_has_its_own_door(package: str, modules: set[str]) -> None:
    """What is not Python's own, and may be replaced one day, is imported in one place."""
    assert set(importers(package)) <= modules


def test_event_loop_is_known_at_the_edges_alone() -> None:
    """Asyncio, and functions that await, are where sockets and threads are."""
    assert set(importers("asyncio")) <= ASYNCHRONOUS
    assert {module for module in MODULES if waits(module)} <= COROUTINES


def test_varlink_service_knows_of_no_device() -> None:
    """The service would serve any interface."""
    inner = {name for name in imported("server.varlink.service") if name.startswith("nodedevd")}
    assert inner <= {
        "nodedevd.errors",
        "nodedevd.server.conversation",
        "nodedevd.server.varlink.answers",
        "nodedevd.undecodable",
        "nodedevd.varlink",
    }


def test_only_control_starts_processes() -> None:
    """The daemon never does, and its tools have no need to."""
    assert importers("subprocess") == ["control.programs"]
    assert importers("multiprocessing") == []
    starts = {"posix_spawn", "fork", "forkpty", "system", "popen", "execv", "execve"}
    found = {
        module
        for module in MODULES
        for node in nodes(module, *starts)
        if isinstance(node, ast.Attribute) and node.attr in starts
    }
    assert found == {"control.writers"}


def test_daemon_that_reads_changes_nothing() -> None:
    """Whatever it imports, it is nothing that could change a host, or plans a change.

    It asks for changes as any client does, with requests and answers that are data.
    """
    seen: set[str] = set()
    todo = ["daemon"]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            inner = {name.removeprefix("nodedevd.") for name in imported(module)}
            todo += [one for one in inner if one in MODULES]
    assert len(seen) > 100
    assert {name for name in seen if folder(name) in ("actions", "control")} == {
        *("actions.answers", "actions.ownership", "actions.plan", "actions.requests")
    }


def test_daemon_that_changes_nothing_for_anybody_cannot_ask_for_it() -> None:
    """What asks for changes, and reads the XML of clients, is imported with --libvirt-writes."""
    tree = ast.parse(file_of("daemon").read_text(encoding="utf-8"))
    at_once = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {one for one in at_once if one and "client" in one}
    assert "nodedevd.server.libvirt.writes" not in at_once


def test_upward_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of layers sees imports in functions, by either spelling."""
    (tmp_path / "errors.py").write_text(
        "def late():\n    from nodedevd import model\n    import nodedevd.tree.read as read\n"
    )
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert imported("errors") == {"nodedevd.model", "nodedevd.tree.read"}


def test_architecture_names_every_module() -> None:
    """The table of folders in docs/architecture.md lists each module in its folder's row."""
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    described = {
        (cells[1].strip(" `"), name)
        for cells in rows
        if len(cells) == 5
        for name in re.findall(r"`([a-z_]+)`", cells[3])
    }
    for path in PACKAGE.rglob("*.py"):
        place = path.parent.relative_to(PACKAGE).as_posix()
        row = {".": "files beside the folders", "kinds/pci": "kinds"}.get(place, place)
        if path.name != "__init__.py" and path.stem not in ("__main__", *PROGRAM):
            assert (row, path.stem) in described
