"""The layers of nodedevd: imports point down, and each outside thing has its one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nodedevd

PACKAGE = Path(nodedevd.__file__).parent

# From the bottom up. A module imports only what stands in a line above its own.
LAYERS: list[set[str]] = [
    {"errors", "addresses", "pci_ids", "pci_config", "drawing", "xmltext", "table", "logs"}
    | {"pci_vpd", "ethtool", "varlink", "systemd", "scan_thread", "netlink", "udevdb", "inotify"}
    | {"sorted_map", "kept"},
    {"devlink", "rtnetlink", "naming", "listener", "service", "session", "xdr"},
    {"sysroot", "acceptor", "libvirt_protocol"},
    {"node", "processes"},
    {"capabilities.base", "wwn", "ccw_bus", "mdevctl", "vfio", "type_facts"},
    {"capabilities.*"},
    {"capabilities"},
    {"model"},
    {"assembly", "dialects.native", "in_use", "resolve", "status", "uevents", "vgpu_functions"}
    | {"freshness"},
    {"dialects.libvirt", "fits", "hostdev", "scan", "udev"},
    {"dialects"},
    {"source", "onlooker", "host_facts"},
    {"store", "record", "update", "schema", "embedded"},
    {"watch", "libvirt_devices", "missed", "supervisor"},
    {"interface", "libvirt_session", "doctor", "client.deadline", "client.decoding"},
    {"server", "libvirt_server", "client.errors", "follow"},
    {"client.calls", "client.connection"},
    {"client.watching"},
    {"client.conditions"},
    {"client.blocking", "client.asynchronous"},
    {"client"},
    {"cli_options"},
    {"cli_hostdev", "cli_vgpu", "cli_doctor", "cli_in_use", "cli_watch"},
    {"daemon", "cli"},
    {"__main__"},
]
ASYNCHRONOUS = {"session", "acceptor", "server", "libvirt_server", "scan_thread", "daemon"} | {
    "client.asynchronous",
    "follow",
    "onlooker",
    "supervisor",
}
"""All that knows of asyncio."""
COROUTINES = ASYNCHRONOUS | {"interface", "libvirt_session"}
"""All that awaits: an answer may wait for a fresh reading."""


def modules() -> Iterator[str]:
    """Return every module, without `nodedevd.` in front; packages by their own name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name != "__init__":
            yield name.removesuffix(".__init__")


MODULES = list(modules())


def source(module: str) -> ast.Module:
    """Parse a module."""
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def layer(module: str) -> int:
    """Return the number of a module's layer; one that has none fails the test."""
    package = f"{module.partition('.')[0]}.*" if "." in module else module
    for name in (module, package):
        for number, names in enumerate(LAYERS):
            if name in names:
                return number
    raise AssertionError(
        f"nodedevd/{module.replace('.', '/')}.py is in no layer: put it into LAYERS, "
        "above all that it imports and below all that imports it"
    )


def imported(module: str) -> Iterator[str]:
    """Return what a module imports, wherever in it: nodedevd's by module, others by package."""
    for node in ast.walk(source(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [name for name in inside if name.removeprefix("nodedevd.") in MODULES]
            names = known or [node.module or ""]
        else:
            continue
        for name in names:
            package, _, inner = name.partition(".")
            yield f"nodedevd.{inner}" if package == "nodedevd" else package


def importers(package: str) -> list[str]:
    """Return the modules that import a package from outside."""
    return [module for module in MODULES if package in imported(module)]


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_below(module: str) -> None:
    """No module knows of one beside it or above it."""
    own = layer(module)
    inner = [name.removeprefix("nodedevd.") for name in imported(module) if "nodedevd." in name]
    upward = {name: layer(name) for name in inner if name and layer(name) >= own}
    assert upward == {}, f"{module} is in layer {own}"


def test_layers_name_only_what_exists() -> None:
    """The table holds each module once, and no module that is gone."""
    names = [name for names in LAYERS for name in sorted(names)]
    assert len(names) == len(set(names))
    packages = {f"{module.partition('.')[0]}.*" for module in MODULES if "." in module}
    assert set(names) - set(MODULES) - packages == set()


@pytest.mark.parametrize(("package", "module"), [("lxml", "xmltree"), ("pyudev", "udev")])
def test_library_outside_has_its_own_door(package: str, module: str) -> None:
    """What is not Python's own, and may be replaced one day, is imported in one place."""
    assert set(importers(package)) <= {module}


def test_event_loop_is_known_at_the_edges_alone() -> None:
    """Asyncio, and functions that await, are where sockets and threads are."""
    assert set(importers("asyncio")) <= ASYNCHRONOUS
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = {
        module
        for module in MODULES
        if any(isinstance(node, waiting) for node in ast.walk(source(module)))
    }
    assert found <= COROUTINES


def test_varlink_service_knows_of_no_device() -> None:
    """Protocol and service would serve anything."""
    inner = {name for name in imported("service") if name.startswith("nodedevd")}
    assert inner <= {"nodedevd.varlink", "nodedevd.errors", "nodedevd.kept"}
    for alone in ("varlink", "kept"):
        assert [name for name in imported(alone) if name.startswith("nodedevd")] == []


def test_nothing_starts_a_process() -> None:
    """The daemon never does, and its tools have no need to."""
    assert importers("subprocess") == []
    assert importers("multiprocessing") == []


def test_upward_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of layers sees imports in functions, by either spelling."""
    (tmp_path / "errors.py").write_text(
        "def late():\n    from nodedevd import model\n    import nodedevd.scan as scan\n"
    )
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert list(imported("errors")) == ["nodedevd.model", "nodedevd.scan"]
