"""stand_ins: values that take the place of those that would identify the recorded machine.

Nothing is copied because it looks harmless: `attributes`, `udev_data` and `names` list what may be
recorded as it is, and everything else has its words replaced. The same value has the same stand-in
in every file, path and link of a recording, whatever its form there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.kinds import KINDS
from nodedevd.kinds.pci import VPD
from nodedevd.kinds.pci import config as pci_config
from nodedevd.kinds.pci import vpd as pci_vpd
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.names import is_uuid, parse_pci
from nodedevd.tree.stand_ins import definitions, proc, udev_data
from nodedevd.tree.stand_ins.attributes import DESCRIBED, PLAIN, UEVENT, VOCABULARY
from nodedevd.tree.stand_ins.names import Names
from nodedevd.tree.stand_ins.nodes import Nodes
from nodedevd.tree.stand_ins.table import Table
from nodedevd.tree.stand_ins.texts import Texts

_IDENTIFYING = frozenset(name for kind in KINDS for name in kind.identifying)
_SERIAL = re.compile(r"(?:\w+_)?serial|uid|wwid")
_TARGETS = frozenset({b"LIO-ORG", b"SCST_BIO", b"SCST_FIO"})
_RULES = "60-mdevctl.rules"
_RULE_LINE = re.compile(r"[^#]*?(/[\w./+-]*/mdevctl\s+start-parent-mdevs).*")
_CONTAINERS = frozenset(
    {
        *("docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "container-other"),
        *("kubernetes", "oci", "wsl"),
    }
)
_SCRIPTS = re.compile("(/etc/mdevctl.d|/usr/lib/mdevctl)/scripts.d/(?:callouts/|notifiers/)?")
_SCRIPT_DIRECTORIES = frozenset({"scripts.d", "callouts", "notifiers"})
_PARENT = re.compile(r"[0-9a-f]{1,2}\.[0-9a-f]\.[0-9a-f]{4}|matrix|mtty|mdpy|mbochs|ap_matrix")
_UDEV_NAME = re.compile(r"\+(\w+):(.+)", re.DOTALL)


class StandIns:
    """Gives each identifying value of a host a stand-in, the same one wherever it occurs."""

    def __init__(
        self, files: Mapping[str, bytes], links: Mapping[str, str], directories: Iterable[str]
    ) -> None:
        self._table = Table()
        self._texts = Texts(self._table)
        self._names = Names(self._texts, links)
        self._nodes = Nodes(self._texts, self._names)
        self._in_sysfs = {path.rpartition("/")[2] for path in directories if path[:5] == "/sys/"}
        self._in_sysfs.update(path.rpartition("/")[2] for path in links)
        self._chosen = set(_chosen_models(files))
        for path, data in files.items():
            if path.rpartition("/")[2] in VOCABULARY and path not in self._chosen:
                self._texts.learn(_text(data))
        for path in directories:
            self.path(path)
        for path, data in files.items():
            self.path(path)
            self.content(path, data)
        for path, text in links.items():
            self.path(path)
            self.link(path, text)
        self._table.assign()
        self._names.forget()

    @property
    def count(self) -> int:
        """How many values were replaced."""
        return self._texts.count

    def path(self, path: str) -> str:
        """Return a path with stand-ins."""
        if path.startswith(f"{UDEV_DATA}/"):
            return f"{UDEV_DATA}/{self._udev_name(path[len(UDEV_DATA) + 1 :])}"
        if _SCRIPTS.match(path) is not None:
            directory, _, name = path.rpartition("/")
            return f"{directory}/{name if name in _SCRIPT_DIRECTORIES else self._secret(name)}"
        if path.startswith(f"{DEFINITIONS}/"):
            return "/".join([DEFINITIONS, *map(self._defined, path.split("/")[3:])])
        return self._names.path(path)

    def link(self, path: str, text: str) -> str:
        """Return the text of a link with stand-ins."""
        return self._names.link(path, text)

    def content(self, path: str, data: bytes) -> bytes:
        """Return the content of a file with stand-ins."""
        name = path.rpartition("/")[2]
        if name == VPD:
            return pci_vpd.without_identity(data, self._serial_in_vpd, self._texts.described)
        if name == "config":
            return pci_config.without_identity(data)
        return self._content(path, name, _text(data)).encode("utf-8", "surrogateescape")

    def _content(self, path: str, name: str, text: str) -> str:
        if not text:
            return text
        if path.startswith("/sys/"):
            return self._attribute(path, name, text)
        if path.startswith("/proc/"):
            return proc.without_private(path, text, self._texts, self._nodes, self._names)
        if path.startswith(f"{UDEV_DATA}/"):
            return udev_data.without_identity(text, self._texts, self._nodes)
        if path.startswith(f"{DEFINITIONS}/"):
            return definitions.without_identity(text, self._texts)
        if name == _RULES:
            return _rule(text)
        return text if text.strip() in _CONTAINERS else self._secret(text)

    def _attribute(self, path: str, name: str, text: str) -> str:
        if name == "uevent":
            return self._uevent(text)
        if path.endswith("/dm/uuid"):
            return self._nodes.dm_uuid(text)
        if path.endswith("/dm/name"):
            return self._secret(text)
        if path in self._chosen:
            return self._secret(text)
        if name in _IDENTIFYING:
            return self._texts.serial(text) if _SERIAL.fullmatch(name) else self._secret(text)
        if name in DESCRIBED:
            return self._texts.described(text)
        return self._texts.plain(text) if name in PLAIN else self._secret(text)

    def _uevent(self, text: str) -> str:
        kept = []
        for line in text.split("\n"):
            name, _, value = line.partition("=")
            if name not in UEVENT:
                continue
            if name == "INTERFACE":
                value = self._names.interface(value)
            elif name == "DEVNAME":
                value = self._names.node(value) or value
            kept.append(f"{name}={self._texts.plain(value)}\n")
        return "".join(kept)

    def _udev_name(self, name: str) -> str:
        match = _UDEV_NAME.fullmatch(name)
        if match is None:
            return name
        return f"+{match[1]}:{self._names.of(match[1], match[2])}"

    def _defined(self, name: str) -> str:
        """Return the name of a parent, or of a definition."""
        known = (
            name in self._in_sysfs
            or name in _SCRIPT_DIRECTORIES
            or parse_pci(name) is not None
            or _PARENT.fullmatch(name)
        )
        return self._texts.plain(name) if known or is_uuid(name) else self._secret(name)

    def _secret(self, text: str) -> str:
        return self._texts.secret(text)

    def _serial_in_vpd(self, text: str) -> str:
        return self._texts.serial(text)


def _chosen_models(files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the models that are names of volumes, as targets made of software have them."""
    for path, data in files.items():
        directory, _, name = path.rpartition("/")
        if name == "vendor" and data.strip() in _TARGETS:
            yield f"{directory}/model"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _rule(text: str) -> str:
    """Return those lines of the udev rule that start definitions, without their conditions."""
    calls = [match[1] for match in map(_RULE_LINE.match, text.split("\n")) if match]
    return "".join(f'SUBSYSTEM=="mdev", RUN+="{call} %k"\n' for call in calls)
