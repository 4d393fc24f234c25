"""container: whether the files of a host are those of a container, and of which kind.

Reads  /run/systemd/container, /run/host/container-manager, /run/.containerenv, /.dockerenv,
       /run/secrets/kubernetes.io
Form   https://systemd.io/CONTAINER_INTERFACE; podman-run(1); the file of Docker, and the volume
       that Kubernetes mounts into every container, are kept by convention
"""

from __future__ import annotations

import re

from nodedevd.host.tolerant import TolerantReads

_NAMED = ("/run/systemd/container", "/run/host/container-manager")
_MARKS = {
    "/run/secrets/kubernetes.io": "kubernetes",
    "/run/.containerenv": "podman",
    "/.dockerenv": "docker",
}
_NAME = re.compile("[a-z0-9-]{1,32}")


def read_container(reads: TolerantReads) -> str | None:
    """Return the kind of container, as its manager names itself; None if there is no sign of one.

    The environment of the first process names it, too, but only root may read that.
    """
    for path in _NAMED:
        data = reads.data(path)
        if data is None:
            continue
        name = data[:64].decode("ascii", "replace").strip()
        return name if _NAME.fullmatch(name) else "unknown"
    for path, name in _MARKS.items():
        if reads.exists(path):
            return name
    return None
