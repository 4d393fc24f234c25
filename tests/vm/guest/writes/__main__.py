"""Plays the script on a daemon by a client, and keeps what came of it, in any VM.

Examples: python3 -m tests.vm.guest.writes virsh libvirtd nodedev:///system?socket=… /tmp/out
          python3 -m tests.vm.guest.writes load libvirtd nodedev:///system?socket=… 200 16
"""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path

from tests.vm.guest import vm
from tests.vm.guest.writes import load
from tests.vm.guest.writes.calls import CLIENTS
from tests.vm.guest.writes.play import Player
from tests.vm.guest.writes.records import keep
from tests.vm.guest.writes.script import SECTIONS


def main(client: str, daemon: str, uri: str, out: str, *sections: str) -> int:
    """Play by a client, each section though one before has failed."""
    status = 0

    def restart() -> None:
        assert daemon == "libvirtd", f"{daemon} has ended"
        vm.run("systemctl", "restart", "libvirtd.service")

    def say(text: str) -> None:
        print(text, flush=True)

    kill = partial(vm.run, "systemctl", "kill", "--signal=KILL", f"{daemon}.service")
    player = Player(uri, CLIENTS[client], say, kill, restart)
    for section in SECTIONS:
        if sections and section.__name__ not in sections:
            continue
        print(f"== {daemon} {client} {section.__name__}", flush=True)
        try:
            section(player)
        except Exception:
            traceback.print_exc()
            status = 1
        keep(player.noted, Path(out, f"{daemon}-{client}.json"))
    player.close()
    return status


def hundreds(daemon: str, uri: str, number: str, workers: str) -> int:
    """Make and remove mdevs by as many virsh at once, and print what was shown meanwhile."""
    outcome = load.play(uri, int(number), int(workers))
    print("\n".join(outcome.lines(daemon)), flush=True)
    return 0


if __name__ == "__main__":
    word, *rest = sys.argv[1:]
    sys.exit(hundreds(*rest) if word == "load" else main(word, *rest))
