"""Archives of any kind, for hypothesis."""

from __future__ import annotations

import os

from hypothesis import strategies as st

from nodedevd.host.archive.tree import DIRECTORY_MODE, FILE_MODE, Archive

FILE_MODES = st.sampled_from([FILE_MODE, 0o444, 0o400, 0o200, 0o755, 0])
DIRECTORY_MODES = st.sampled_from([DIRECTORY_MODE, 0o700, 0o555, 0o111])
_LETTERS = st.sampled_from([b"a", b"sys", b":", b" ", b"\\", b"\n", b"\t", b"#", b"..", b"\xff"])
NAMES = (
    (st.lists(_LETTERS, min_size=1, max_size=3).map(b"".join) | st.binary(min_size=1, max_size=8))
    .filter(lambda name: name not in (b".", b"..") and not {0, ord("/")} & {*name})
    .map(os.fsdecode)
)
CONTENTS = (
    st.binary(max_size=600)
    | st.lists(st.sampled_from([b"End\n", b"\n", b"Path: a", b" \n", b"\\", b"\\\n", b"\r\n"])).map(
        b"".join
    )
    | st.text(max_size=600).map(lambda text: text.encode("utf-8", "replace"))
)


@st.composite
def archives(draw: st.DrawFn, *, permissions: bool = True) -> Archive:
    """Draw an archive: nested directories, files, links, with names and contents of any bytes.

    Without `permissions`, they are those that files and directories mostly have.
    """
    archive = Archive()
    directories = [""]
    for name in draw(st.lists(NAMES, max_size=12)):
        above = draw(st.sampled_from(directories))
        path = f"{above}/{name}"
        if name in archive.listdir(above or "/"):
            continue
        kind = draw(st.sampled_from(["directory", "file", "link"]))
        if kind == "directory":
            archive.add_directory(path, draw(DIRECTORY_MODES) if permissions else DIRECTORY_MODE)
            directories.append(path)
        elif kind == "file":
            archive.add_file(path, draw(CONTENTS), draw(FILE_MODES) if permissions else FILE_MODE)
        else:
            ups = draw(st.integers(0, above.count("/")))
            down = draw(st.lists(NAMES | st.sampled_from([".", "sys", "a"]), min_size=1))
            archive.add_link(path, "../" * ups + "/".join(down))
    return archive
