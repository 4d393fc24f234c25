"""Many mdevs made and removed at once by virsh, while others list them and read their XML."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from tests.vm.guest.writes.lives import Life, Outcome, Span, judge
from tests.vm.guest.writes.records import Call
from tests.vm.guest.writes.virsh import Virsh

PARENT, TYPE = "mtty_mtty", "mtty-1"
LEFT_SECONDS = 30.0
LISTED = Call("list", options=("--cap", "mdev"))


def document(one: str, parent: str, kind: str) -> str:
    """Return the XML of an mdev to be."""
    return (
        f"<device><parent>{parent}</parent><capability type='mdev'>"
        f"<type id='{kind}'/><uuid>{one}</uuid></capability></device>"
    )


def ask(virsh: Virsh, call: Call) -> Span:
    """Ask, and note when."""
    begun = time.monotonic()
    answer = virsh.ask(call)
    return Span(begun, time.monotonic(), answer)


def play(uri: str, number: int, workers: int, parent: str = PARENT, kind: str = TYPE) -> Outcome:
    """Create and destroy mdevs by as many clients at once, and look meanwhile.

    Each worker creates an mdev, and destroys one that was created before: so about `workers` of
    both kinds of calls are in progress at any time. At first all are created.
    """
    virsh, address = Virsh(uri), parent.partition("_")[2]
    outcome = Outcome(lives=[Life(str(uuid.uuid4()), address) for _ in range(number)])
    done = threading.Event()

    def make(life: Life) -> None:
        life.create = ask(virsh, Call("create", document=document(life.uuid, parent, kind)))

    def take(life: Life) -> None:
        if life.create is not None and not life.create.answer.status:
            life.destroy = ask(virsh, Call("destroy", life.name))

    def whole(life: Life) -> None:
        make(life)
        take(life)

    def look() -> None:
        for turn in itertools.count():
            if done.is_set():
                return
            outcome.looks.append((None, ask(virsh, LISTED)))
            name = outcome.lives[turn * 7 % number].name
            outcome.looks.append((name, ask(virsh, Call("dumpxml", name))))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        half = outcome.lives[: number // 2], outcome.lives[number // 2 :]
        with ThreadPoolExecutor(workers) as pool:
            # First a half is made and stays; then the others come and go in one stride, beside
            # the removal of the first.
            list(pool.map(make, half[0]))
            mixed = [
                pool.submit(step, life)
                for pair in itertools.zip_longest(half[0], half[1])
                for step, life in zip((take, whole), pair, strict=True)
                if life is not None
            ]
            for future in mixed:
                future.result()
    finally:
        done.set()
        looking.join()
    judge(outcome)
    outcome.left = left(virsh, outcome)
    return outcome


def left(virsh: Virsh, outcome: Outcome) -> list[str]:
    """Return what is still listed, active or not, some time after there is nothing any more."""
    every = Call("list", options=("--all", "--cap", "mdev"))
    ours = {life.name for life in outcome.lives if life.destroy is not None}
    deadline = time.monotonic() + LEFT_SECONDS
    while (found := ours & set(virsh.ask(every).out.split())) and time.monotonic() < deadline:
        time.sleep(0.5)
    return sorted(found)
