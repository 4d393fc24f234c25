"""sysroot: the only access to the files of a host, in a directory or in an archive."""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nodedevd.errors import BadArchive, NoDevices, NotASysroot
from nodedevd.host import rooted
from nodedevd.host.archive.disk import pack, unpack, write_archive
from nodedevd.host.archive.tree import Archive
from nodedevd.host.sysroot import Sysroot, joined
from nodedevd.tree.read import scan
from tests.support.archives import archives
from tests.support.descriptors import descriptors
from tests.support.trees import Tree

GPU = "/sys/devices/pci0000:00/0000:00:02.0"


@pytest.fixture(params=["tree", "live_tree"])
def host(request: pytest.FixtureRequest) -> Tree:
    """Return a host below a directory, and one at the root."""
    tree: Tree = request.getfixturevalue(request.param)
    gpu = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915")
    tree.mdev_type(gpu, "i915-GVTg_V5_4", name="GVTg_V5_4")
    return tree


def failure(read: Callable[[str], object], path: str) -> int | None:
    """Return the errno that a read of a path fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the caller looks at the errno
        read(path)
    return caught.value.errno


# The same below a directory and at the root


def test_file_is_read_whole_or_in_part(host: Tree) -> None:
    """Bytes come as they are; a size limits them."""
    sysroot = Sysroot(host.root)
    assert sysroot.read(f"{GPU}/vendor") == b"0x8086\n"
    assert sysroot.read(f"{GPU}/vendor", 3) == b"0x8"
    assert sysroot.read(f"{GPU}/config", 64) == sysroot.read(f"{GPU}/config")[:64]


@pytest.mark.parametrize("size", [0, 4095, 4096, 4097, 1 << 20, (1 << 20) + 5000])
def test_file_of_any_size_is_read_whole(host: Tree, size: int) -> None:
    """A file of more than a page, which sysfs never has, is read to its end."""
    host.file(f"{GPU}/long", b"x" * size)
    assert Sysroot(host.root).read(f"{GPU}/long") == b"x" * size


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 8192, 30000])
def test_part_of_a_long_file_is_as_long_as_asked(host: Tree, size: int) -> None:
    """Not a byte more is returned."""
    host.file(f"{GPU}/long", b"x" * 20000)
    assert Sysroot(host.root).read(f"{GPU}/long", size) == b"x" * min(size, 20000)


def test_directory_is_listed(host: Tree) -> None:
    """By its own path, and by one that leads through links."""
    sysroot = Sysroot(host.root)
    assert sorted(sysroot.listdir("/sys/bus/pci/drivers/i915")) == ["0000:00:02.0"]
    assert "vendor" in sysroot.listdir("/sys/bus/pci/devices/0000:00:02.0")
    assert "vendor" in sysroot.names("/sys/bus/pci/drivers/i915/0000:00:02.0")


def test_file_is_read_through_a_link(host: Tree) -> None:
    """A link as the last part, and links on the way."""
    host.kernel_link(f"{GPU}/alias", f"{GPU}/vendor")
    sysroot = Sysroot(host.root)
    assert sysroot.read(f"{GPU}/alias") == b"0x8086\n"
    assert sysroot.read("/sys/bus/pci/devices/0000:00:02.0/alias") == b"0x8086\n"


def test_link_leads_to_a_path_of_the_host(host: Tree) -> None:
    """Never with the root in front."""
    sysroot = Sysroot(host.root)
    assert sysroot.target("/sys/bus/pci/devices/0000:00:02.0") == GPU
    assert sysroot.target(f"{GPU}/driver") == "/sys/bus/pci/drivers/i915"
    assert sysroot.read_link(f"{GPU}/driver") == "../../../bus/pci/drivers/i915"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../../bus/pci/drivers/i915", "i915"),
        ("vendor", "vendor"),
        ("vendor/", "vendor"),
        ("/sys/class/net/eth0", "eth0"),
        ("..", "pci0000:00"),
        ("./vendor/.", "vendor"),
        ("/", ""),
    ],
)
def test_name_of_what_a_link_leads_to_is_the_last_part(host: Tree, text: str, name: str) -> None:
    """However the link is written."""
    host.link(f"{GPU}/link", text)
    assert Sysroot(host.root).target_name(f"{GPU}/link") == name


def test_absolute_link_stays_inside(host: Tree) -> None:
    """It means the host's own root."""
    host.link("/sys/bus/pci/devices/abs", GPU)
    host.link(f"{GPU}/abs", f"{GPU}/vendor")
    sysroot = Sysroot(host.root)
    assert sysroot.target("/sys/bus/pci/devices/abs") == GPU
    assert sysroot.read("/sys/bus/pci/devices/abs/vendor") == b"0x8086\n"
    assert sysroot.read(f"{GPU}/abs") == b"0x8086\n"


def test_link_that_climbs_too_far_stays_inside(host: Tree) -> None:
    """Above the root there is the root, as for chroot(2)."""
    host.link("/sys/bus/pci/devices/up", "../" * 30 + GPU.lstrip("/"))
    host.link(f"{GPU}/up", "../" * 30 + f"{GPU}/vendor".lstrip("/"))
    sysroot = Sysroot(host.root)
    assert sysroot.target("/sys/bus/pci/devices/up") == GPU
    assert "vendor" in sysroot.listdir("/sys/bus/pci/devices/up")
    assert sysroot.read(f"{GPU}/up") == b"0x8086\n"


def test_dangling_link_has_a_target_and_no_content(host: Tree) -> None:
    """The target is returned although it does not exist; the link itself exists."""
    host.link(f"{GPU}/mdev_type", "mdev_supported_types/gone")
    sysroot = Sysroot(host.root)
    assert sysroot.target(f"{GPU}/mdev_type") == f"{GPU}/mdev_supported_types/gone"
    assert sysroot.exists(f"{GPU}/mdev_type")
    assert failure(sysroot.read, f"{GPU}/mdev_type") == errno.ENOENT
    assert failure(sysroot.listdir, f"{GPU}/mdev_type") == errno.ENOENT


def test_links_in_a_circle_fail_with_an_errno(host: Tree) -> None:
    """Reading and listing fail with ELOOP; the links exist."""
    host.link(f"{GPU}/a", "b")
    host.link(f"{GPU}/b", "a")
    host.link(f"{GPU}/self", "self")
    sysroot = Sysroot(host.root)
    for name in ("a", "b", "self"):
        path = f"{GPU}/{name}"
        assert failure(sysroot.read, path) == errno.ELOOP
        assert failure(sysroot.resolve, path) == errno.ELOOP
        assert sysroot.exists(path)


def test_what_is_not_there_fails_with_enoent(host: Tree) -> None:
    """Each of the three reads; `exists` is false."""
    sysroot = Sysroot(host.root)
    assert failure(sysroot.read, f"{GPU}/gone") == errno.ENOENT
    assert failure(sysroot.listdir, f"{GPU}/gone") == errno.ENOENT
    assert failure(sysroot.read_link, f"{GPU}/gone") == errno.ENOENT
    assert not sysroot.exists(f"{GPU}/gone")
    assert not sysroot.exists(f"{GPU}/vendor/below")


def test_what_is_no_link_has_no_target(host: Tree) -> None:
    """A file in the place of a link fails with EINVAL, as readlink(2)."""
    assert failure(Sysroot(host.root).target, f"{GPU}/vendor") == errno.EINVAL


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/", "/"),
        ("/..", "/"),
        ("/sys/./bus//pci/", "/sys/bus/pci"),
        ("/sys/bus/pci/devices/0000:00:02.0/../x", "/sys/devices/pci0000:00/x"),
        (f"{GPU}/driver/i915", "/sys/bus/pci/drivers/i915/i915"),
        ("/gone/../sys", "/sys"),
    ],
)
def test_path_is_resolved_inside_the_root(host: Tree, path: str, resolved: str) -> None:
    """Part by part, links first: `..` behind a link is above its target."""
    assert Sysroot(host.root).resolve(path) == resolved


def test_pci_ids_are_the_hosts_own(host: Tree) -> None:
    """The database is below the root, and may be a link there."""
    assert Sysroot(host.root).pci_ids.vendor(0x8086) is None
    host.file("/usr/share/hwdata/pci.ids", "8086  Hwdata\n")
    assert Sysroot(host.root).pci_ids.vendor(0x8086) == "Hwdata"
    host.file("/var/lib/pci.ids", "8086  Linked\n")
    host.link("/usr/share/misc/pci.ids", "/var/lib/pci.ids")
    assert Sysroot(host.root).pci_ids.vendor(0x8086) == "Linked"


def test_root_without_sys_is_refused(host: Tree) -> None:
    """A sysroot is a directory with sys/ in it; a file has to be an archive."""
    Sysroot(host.root).check()
    for root in (host.at("/sys/bus"), host.at("/gone")):
        with pytest.raises(NotASysroot, match="has no directory sys/; give a directory that"):
            Sysroot(root).check()
    with pytest.raises(BadArchive, match=f"^{host.at(GPU)}/vendor is not a valid archive"):
        Sysroot(host.at(f"{GPU}/vendor"))


# On a real disk


def test_link_out_of_the_root_reads_nothing_of_the_reader(tmp_path: Path) -> None:
    """A recorded host cannot show files of the machine it is read on."""
    secret = tmp_path / "secret"
    secret.write_text("not yours\n")
    tree = Tree(tmp_path / "host")
    tree.link("/sys/absolute", str(secret))
    tree.link("/sys/relative", "../../secret")
    tree.link("/sys/up", "../..")
    sysroot = Sysroot(tree.root)
    for path in ("/sys/absolute", "/sys/relative", "/sys/up/secret"):
        assert failure(sysroot.read, path) == errno.ENOENT
    assert sysroot.listdir("/sys/up") == ["sys"]


@pytest.mark.parametrize("root", [".", "host/../host", "host/", "host"])
def test_root_may_be_given_in_any_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """A relative root is resolved when it is given, against the working directory."""
    Tree(tmp_path / "host").file("/sys/attribute", "value\n")
    monkeypatch.chdir(tmp_path / "host" if root == "." else tmp_path)
    sysroot = Sysroot(root)
    monkeypatch.chdir("/")
    assert sysroot.root == str(tmp_path / "host")
    assert sysroot.read("/sys/attribute") == b"value\n"


def test_directory_read_as_a_file_fails_with_eisdir(tmp_path: Path) -> None:
    """And leaves no descriptor open."""
    Tree(tmp_path).directory("/sys/bus")
    before = descriptors()
    sysroot = Sysroot(str(tmp_path))
    assert failure(sysroot.read, "/sys/bus") == errno.EISDIR
    sysroot.forget()
    assert descriptors() == before


# In an archive


READS = ("listdir", "names", "read", "read_link", "exists", "target", "target_name", "resolve")


def results(sysroot: Sysroot, path: str) -> dict[str, object]:
    """Return what each read of a path gives: an answer, or the errno it fails with."""
    found: dict[str, object] = {}
    for read in READS:
        try:
            answer = getattr(sysroot, read)(path)
        except OSError as error:
            found[read] = errno.errorcode[error.errno or 0]
        else:
            found[read] = sorted(answer) if isinstance(answer, list) else answer
    return found


@pytest.mark.exhaustive
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(archives(permissions=False), st.data())
def test_host_in_an_archive_reads_as_the_same_one_in_a_directory(
    archive: Archive, data: st.DataObject
) -> None:
    """Every read of every path, through links, below files, and where nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        file, root = f"{directory}/host.ttar", f"{directory}/host"
        write_archive(archive, file)
        unpack(archive, root)
        in_file, in_directory = Sysroot(file), Sysroot(root)
        paths = ["/", *(path for path, _, _ in archive.walk())]
        further = [f"{path.rstrip('/')}/{name}" for path in paths for name in ("gone", "../a", "a")]
        for path in data.draw(st.permutations([*paths, *further])):
            assert results(in_file, path) == results(in_directory, path), path


def test_archive_is_read_without_its_file(tmp_path: Path) -> None:
    """It is read once; changes of the file do not change the host."""
    tree = Tree(tmp_path / "host")
    tree.file("/sys/attribute", "value\n")
    path = tmp_path / "host.ttar"
    write_archive(pack(tree.root), str(path))
    sysroot = Sysroot(str(path))
    path.unlink()
    sysroot.check()
    assert sysroot.root == str(path)
    assert not sysroot.live
    assert sysroot.read("/sys/attribute") == b"value\n"
    assert sysroot.ethtool_features("lo", 1) is None


def test_archive_without_sys_is_refused(tmp_path: Path) -> None:
    """Whatever else it holds."""
    tree = Tree(tmp_path / "host")
    tree.file("/usr/share/misc/pci.ids")
    tree.remove("/sys")
    write_archive(pack(str(tmp_path / "host")), str(tmp_path / "host.ttar"))
    with pytest.raises(NotASysroot, match="has no directory sys/"):
        Sysroot(str(tmp_path / "host.ttar")).check()


def test_file_that_only_root_may_read_is_read_from_an_archive(tmp_path: Path) -> None:
    """A write-only one is refused to everybody, as by sysfs."""
    archive = Archive()
    archive.add_directory("/sys")
    archive.add_file("/sys/serial", b"S1\n", 0o400)
    archive.add_file("/sys/remove", b"", 0o200)
    write_archive(archive, str(tmp_path / "host.ttar"))
    sysroot = Sysroot(str(tmp_path / "host.ttar"))
    assert sysroot.read("/sys/serial") == b"S1\n"
    assert sysroot.exists("/sys/remove")
    assert failure(sysroot.read, "/sys/remove") == errno.EACCES


def test_what_is_neither_file_nor_directory_is_no_sysroot(tmp_path: Path) -> None:
    """It is not waited for: a FIFO has nothing to read."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotASysroot, match="or a file that `nodedevctl record` wrote"):
        Sysroot(str(tmp_path / "fifo")).check()


# The thread of the event loop


@pytest.mark.parametrize("read", ["read", "listdir", "names", "read_link", "target", "exists"])
def test_read_on_the_loops_thread_is_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """A blocking read there would stall every client: it fails at once, loudly."""
    tree = Tree(tmp_path)
    tree.file("/sys/attribute", "value\n")
    tree.link("/sys/link", "attribute")
    sysroot = Sysroot(tree.root)
    path = {"listdir": "/sys", "names": "/sys", "read": "/sys/attribute"}.get(read, "/sys/link")
    assert getattr(sysroot, read)(path)
    monkeypatch.setattr(Sysroot, "loop_thread", threading.get_ident())
    with pytest.raises(AssertionError, match="event loop"):
        getattr(sysroot, read)(path)


def test_read_on_another_thread_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan thread is such a one."""
    Tree(tmp_path).file("/sys/attribute", "value\n")
    monkeypatch.setattr(Sysroot, "loop_thread", threading.get_ident())
    found: list[bytes] = []
    sysroot = Sysroot(str(tmp_path))
    thread = threading.Thread(target=lambda: found.append(sysroot.read("/sys/attribute")))
    thread.start()
    thread.join()
    assert found == [b"value\n"]


@given(
    st.lists(st.sampled_from(["sys", "a", "b", "0000:00:1f.2"]), min_size=1, max_size=6),
    st.text(st.sampled_from("./ab"), min_size=1, max_size=12)
    | st.lists(st.sampled_from(["..", ".", "", "a", ".b", "..c", "sys"]), min_size=1).map("/".join),
)
def test_link_of_any_text_leads_where_a_path_with_dots_does(parts: list[str], text: str) -> None:
    """The short way that the kernel's links take is the same as the long one."""
    assume(text)
    path = "/" + "/".join(parts)
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
    assert joined(path, text) == "/" + wanted.lstrip("/")


# What changes while it is read


def test_directory_that_becomes_a_link_does_not_lead_out(tmp_path: Path) -> None:
    """Between the look at a path and its use: a file, a listing, a link, a status."""
    tree = Tree(tmp_path / "host")
    tree.device(GPU, attributes={"vendor": "0x8086"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "vendor").write_text("secret")
    (outside / "secret").touch()
    os.symlink("/secret", outside / "driver")
    sysroot = Sysroot(tree.root)
    assert sysroot.read(f"{GPU}/vendor") == b"0x8086\n"  # the directory is free of links
    os.rename(f"{tree.root}{GPU}", f"{tree.root}/aside")
    os.symlink(outside, f"{tree.root}{GPU}")
    for fresh in (sysroot, _resolved(Sysroot(tree.root), GPU)):
        for read in (fresh.listdir, fresh.read, fresh.read_link):
            for path in (GPU, f"{GPU}/vendor", f"{GPU}/driver"):
                try:
                    found = read(path)
                except OSError:
                    continue
                assert "secret" not in str(found), (read, path)
        assert not fresh.exists(f"{GPU}/secret")


@pytest.mark.parametrize("replaced", ["", "/sys", os.path.dirname(GPU), GPU])
@pytest.mark.parametrize("is_moved", [True, False])
def test_directory_that_was_replaced_is_found(
    tmp_path: Path, replaced: str, is_moved: bool
) -> None:
    """A device that went and came, whether or not the old directory is still somewhere."""
    tree = Tree(tmp_path / "host")
    tree.device(GPU, attributes={"vendor": "0x8086"})
    sysroot = Sysroot(tree.root)
    assert sysroot.read(f"{GPU}/vendor") == b"0x8086\n"
    os.rename(f"{tree.root}{replaced}", tmp_path / "aside")
    if not is_moved:
        shutil.rmtree(tmp_path / "aside")
    tree.device(GPU, attributes={"device": "0x3e98"})
    assert sysroot.read(f"{GPU}/device") == b"0x3e98\n"
    assert not sysroot.exists(f"{GPU}/vendor")


def test_what_is_absent_has_no_directory_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of what a scan looks for is absent."""
    tree = Tree(tmp_path)
    tree.device(GPU)
    sysroot = Sysroot(tree.root)
    assert not sysroot.exists(f"{GPU}/vendor")
    monkeypatch.delattr(rooted, "_open_step")
    assert not sysroot.exists(f"{GPU}/device")
    assert failure(sysroot.read, f"{GPU}/numa_node") == errno.ENOENT


def _resolved(sysroot: Sysroot, path: str) -> Sysroot:
    """Make a sysroot believe that a path has no links, as if it had looked a moment ago."""
    parts = path.split("/")
    sysroot._plain.update("/".join(parts[:length]) for length in range(2, len(parts) + 1))
    return sysroot


@pytest.mark.exhaustive
@pytest.mark.parametrize("depth", [2, 4, 5])
def test_scan_never_leaves_a_host_whose_directories_become_links(
    tmp_path: Path, depth: int
) -> None:
    """Another user swaps them back and forth, as fast as possible, while the host is read."""
    tree = Tree(tmp_path / "host")
    gpu = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915")
    shutil.copytree(tree.root, tmp_path / "outside", symlinks=True)
    Path(f"{tmp_path}/outside{gpu}/vendor").write_text("0x5ec7\n")
    Path(f"{tmp_path}/outside{gpu}/uevent").write_text("PCI_ID=5EC7:0001\nSECRET=1\n")
    Path(f"{tmp_path}/outside{gpu}/config").write_bytes(b"\xc7\x5e" + bytes(62))
    swapped = "/".join(gpu.split("/")[: depth + 1])
    os.symlink(f"{tmp_path}/outside{swapped}", tmp_path / "link")
    ended = threading.Event()

    def swap() -> None:
        inside, link = f"{tree.root}{swapped}", str(tmp_path / "link")
        while not ended.is_set():
            exchange(inside, link)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(30):
            try:
                snapshot = scan(Sysroot(tree.root))
            except NoDevices:  # /sys/devices was the link at that moment
                continue
            assert "5ec7" not in repr(list(snapshot)).lower()
    finally:
        ended.set()
        swapper.join()


def exchange(one: str, other: str) -> None:
    """Swap two files by one system call, renameat2(2) with RENAME_EXCHANGE."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


def test_error_of_a_directory_names_the_whole_path(tmp_path: Path) -> None:
    """The last name alone tells nobody which one it is."""
    (tmp_path / "sys").mkdir()
    with pytest.raises(FileNotFoundError) as raised:
        Sysroot(str(tmp_path)).listdir("/sys/devices/gone")
    assert raised.value.filename == f"{tmp_path}/sys/devices/gone"
