"""Modules of the Cockpit page that need no browser, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd import errors
from nodedevd.cli.refusals import explanation
from nodedevd.errors import NodedevError
from nodedevd.questions.fits import CardType
from nodedevd.questions.why_not import why_not
from nodedevd.text import printable
from tests.support.running import PATIENCE_SECONDS, REPOSITORY

pytestmark = [pytest.mark.needs("node"), pytest.mark.slow]

LEFT = {"undone": ("first",), "left": ("second: it is open",)}
REFUSALS: tuple[NodedevError, ...] = (
    errors.NotAllowed(action="Create", reason="uid 1 is in none of the groups"),
    errors.NoSuchDevice(name="x", nearest=("y", "z")),
    errors.NoSuchDevice(name="x"),
    errors.NoSuchType(type="A2-9Q", nearest=("A2-8Q",)),
    errors.NoSuchType(type="A2-9Q"),
    errors.NotPossible(name="x", reason="no-vgpu", detail="it has no vGPU"),
    errors.NoRoom(type="A2-8Q", detail="the card is full"),
    errors.Conflict(name="x", detail="the uuid is taken"),
    errors.OwnedByOther(name="x", owner="vm-7"),
    errors.OwnedByOther(name="x", owner=""),
    *(
        errors.MadeByOther(name="x", origin=origin)
        for origin in ("client", "definition", "domain", "layout", "other")
    ),
    errors.Changed(name="x", detail="it was made anew"),
    errors.DeviceInUse(name="x", known=True, detail="qemu has it open"),
    errors.DeviceInUse(name="x", known=False, detail="a process cannot be seen"),
    errors.CardBusy(card="x", detail="create", seconds=7.6),
    errors.Vetoed(script="/etc/x", detail="not today", **LEFT),
    errors.StepFailed(step="write x", errno="EIO", detail="the driver refuses it", **LEFT),
    errors.StillWriting(step="write x", seconds=15.2),
    errors.NotConfirmed(action="create x", detail="it is missing", undone=("first",)),
    errors.InvalidParameter("type"),
)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the page in a package that Node.js takes for one of modules."""
    package = tmp_path_factory.mktemp("page") / "cockpit"
    shutil.copytree(REPOSITORY / "cockpit", package)
    (package / "package.json").write_text('{"type": "module"}')
    return package


def run(modules: Path, script: str, given: object = None) -> Any:
    """Run a script, to which `given` is known, and return what it prints as JSON."""
    (modules / "test.js").write_text(script)
    ran = subprocess.run(
        ["node", "test.js", json.dumps(given)],
        cwd=modules,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


FRAMES = """
import { Decoder, encode } from "./varlink/frames.js";
const messages = [{ a: "ä€😀 \\u0000" }, {}, { parameters: { list: [1, null] }, continues: true }];
const bytes = messages.flatMap(message => [...encode(message)]);
const same = found => JSON.stringify(found) === JSON.stringify(messages);
const wrong = [];
for (let size = 1; size <= bytes.length; size++) {
    const decoder = new Decoder();
    const found = [];
    for (let at = 0; at < bytes.length; at += size)
        found.push(...decoder.push(Uint8Array.from(bytes.slice(at, at + size))));
    if (!same(found))
        wrong.push(size);
}
const refused = [];
for (const text of ["{", "[]", "null", "1", '"x"', "", '{"a":"\\xff"}'.padEnd(100)]) {
    const decoder = new Decoder(50);
    try {
        decoder.push(Uint8Array.from(text + "\\0", one => one.charCodeAt(0)));
    } catch (error) {
        refused.push(error.name);
    }
}
const limited = new Decoder(10);
let pieces = 0;
try {
    for (; pieces < 100; pieces++)
        limited.push(Uint8Array.from([123]));
} catch { /* too long, without its end */ }
console.log(JSON.stringify({ wrong, refused, pieces }));
"""


def test_messages_are_put_together_from_any_pieces(modules: Path) -> None:
    """Cut within a character, too; what is no message is an error, and so is an endless one."""
    found = run(modules, FRAMES)
    assert found["wrong"] == []
    assert found["refused"] == [
        *("SyntaxError", "TypeError", "TypeError", "TypeError", "TypeError", "SyntaxError"),
        "RangeError",
    ]
    assert found["pieces"] == 10


PROBLEMS = """
import { kindOf } from "./varlink/errors.js";
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(one => kindOf(...one))));
"""


def test_problems_of_channels_are_told_apart(modules: Path) -> None:
    """As Cockpit 287 reports them, and Cockpit 337."""
    cases = {
        ("not-found", None): "absent",
        ("terminated", "[Errno 2] No such file or directory"): "absent",
        ("not-found", "[Errno 111] Connection refused"): "absent",
        ("access-denied", None): "forbidden",
        ("terminated", "[Errno 13] Permission denied"): "forbidden",
        (None, None): "lost",
        ("disconnected", None): "lost",
    }
    assert run(modules, PROBLEMS, list(cases)) == list(cases.values())


EXPLAINED = """
import { explain } from "./changes/refusals.js";
import { Refused } from "./varlink/errors.js";
const found = JSON.parse(process.argv[2]).map(([name, given]) => explain(new Refused(name, given)));
console.log(JSON.stringify(found));
"""


def test_refusals_are_told_as_by_nodedevctl(modules: Path) -> None:
    """The sentence, what was undone, what was not, and what to do next."""
    given = [
        (
            f"{type(error).interface or 'org.nodedevd.Devices'}.{type(error).__name__}",
            {name: getattr(error, name) for name in type(error).reply_fields},
        )
        for error in REFUSALS
    ]
    for error, found in zip(REFUSALS, run(modules, EXPLAINED, given), strict=True):
        lines = [
            found["text"],
            *(f"  undone: {step}" for step in found["undone"]),
            *(f"  NOT undone: {step}" for step in found["left"]),
            *([f"  {found['advice']}"] if found["advice"] else []),
        ]
        assert lines == list(explanation(error))
    forceable = {"DeviceInUse", "MadeByOther", "OwnedByOther"}
    assert {
        type(error).__name__
        for error, found in zip(REFUSALS, run(modules, EXPLAINED, given), strict=True)
        if found["forceable"]
    } == forceable


REASONS = """
import { whyNot } from "./host/why_not.js";
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(whyNot)));
"""


def test_reasons_of_cards_are_told_as_by_nodedevctl(modules: Path) -> None:
    """Each reason of Fits has the same sentence."""
    reasons = msgspec.json.schema(CardType)["$defs"]["CardType"]["properties"]["reason"]["anyOf"]
    words = [word for part in reasons for word in part.get("enum", ()) if word]
    assert "no-vf-enabled" in words
    assert "full" in words
    cards = [
        {"reason": word, "others": others, "driver": "vfio-pci"}
        for word in words
        for others in ([], ["A2-4Q", "A2-2Q"])
    ]
    blank = dict.fromkeys(CardType.__struct_fields__)
    expected = [why_not(CardType(**{**blank, **card})) for card in cards]
    assert run(modules, REASONS, cards) == expected


PRINTABLE = """
import { printable, printableLines } from "./page/printable.js";
const given = JSON.parse(process.argv[2]);
console.log(JSON.stringify([given.map(printable), printableLines("a\\x1b\\nb")]));
"""


def test_texts_are_escaped_as_by_nodedevctl(modules: Path) -> None:
    """What controls, hides or turns round; blanks of any kind and letters stay."""
    texts = [
        *("plain", "Gerät 漢字 😀 ✖ ▲ ● …", "a\nb", "a\r\nb\n", "\t\r\x1b[31m\x00\x7f\x9b"),
        *("web\u202e)321( 4102", "\u2066a\u2069\u200b\ufeff\u00ad", "\u2028\u2029", "\ud800"),
        *("\u3164\uffa0\u115f\u034f\u180b\ufe0f", "\U000e0041\U000e0100\ue000"),
    ]
    found, lines = run(modules, PRINTABLE, texts)
    assert found == [printable(one) for one in texts]
    assert lines == "a\\x1b\nb"
    assert run(modules, PRINTABLE, ["1\u202f\u00a0am"])[0] == ["1\u202f\u00a0am"]


SEEN = """
const listeners = {};
const add = (name, listener) => { listeners[name] = listener };
globalThis.window = { addEventListener: add };
globalThis.cockpit = { hidden: false, addEventListener: add };
let timer;
globalThis.setInterval = (work, milliseconds) => { timer = { work, milliseconds } };
const { whileSeen } = await import("./page/later.js");
const done = [];
whileSeen(() => done.push("looked"), 30000);
timer.work();
cockpit.hidden = true;
for (const look of [timer.work, listeners.visibilitychange, listeners.focus])
    look();
const hidden = done.length;
cockpit.hidden = false;
for (const look of [timer.work, listeners.visibilitychange, listeners.focus])
    look();
console.log(JSON.stringify([timer.milliseconds, hidden, done.length]));
"""


def test_page_looks_again_while_it_is_seen(modules: Path) -> None:
    """At an interval, and when it is seen again; not while it is hidden."""
    assert run(modules, SEEN) == [30000, 1, 4]


LOST = """
let now = 0, handlers;
globalThis.Date = class extends Date { constructor() { super(now) } };
globalThis.setTimeout = () => {};
globalThis.window = { cockpit: { channel: () => {
    handlers = {};
    return {
        addEventListener: (name, handler) => { handlers[name] = handler },
        send: () => {},
        close: () => {},
    };
} } };
const { HostWatch } = await import("./host/watch.js");
const { Devices } = await import("./host/devices.js");
const { encode } = await import("./varlink/frames.js");
const watch = new HostWatch({ path: "/x" }, new Devices(), () => {});
const seen = [];
const note = () => seen.push([watch.state, watch.since && watch.since.getTime()]);
const end = () => { handlers.close(null, { problem: "terminated" }); note() };
watch.start();
end(); // before any data came
watch.start();
now = 1000;
handlers.message(null, encode({ parameters: { event: "ready" }, continues: true }));
note();
now = 5000; // quiet, and connected
end();
now = 9000; // the next try fails, too
watch.start();
end();
console.log(JSON.stringify(seen));
"""


def test_time_of_old_data_is_when_the_connection_was_lost(modules: Path) -> None:
    """Not that of the last event, which may be hours before; nor that of a try since then."""
    lost = ["lost", 5000]
    assert run(modules, LOST) == [["lost", None], ["ready", 1000], lost, lost]


KEPT = """
import { Devices } from "./host/devices.js";
const devices = new Devices();
const seen = [];
devices.onChange(changes => seen.push(changes.map(one => `${one.event} ${one.name}`)));
const device = (name, driver) => ({ name, driver, capabilities: [] });
const present = (...made) => made.map(one => ({ event: "present", name: one.name, device: one }));
devices.restart();
devices.apply(present(device("a"), device("b")));
const early = devices.size;
devices.apply([{ event: "ready" }]);
devices.apply([
    { event: "added", name: "c", device: device("c") },
    { event: "changed", name: "a", device: device("a", "x"), parts: ["driver"] },
    { event: "removed", name: "b" },
]);
const now = [...devices.values()].map(one => one.name);
devices.restart(); // the daemon has gone, and come back
devices.apply(present(device("a", "y"), device("d")));
const stale = [...devices.values()].map(one => one.name);
devices.apply([{ event: "ready" }]);
const after = [...devices.values()].map(one => one.name);
devices.apply([{ event: "resync" }, ...present(device("d")), { event: "ready" }]);
const resynced = [...devices.values()].map(one => one.name);
console.log(JSON.stringify({ early, now, stale, after, resynced, seen }));
"""


def test_devices_follow_events_and_a_daemon_that_comes_back(modules: Path) -> None:
    """Old devices stay until all of the new ones are there; what differs is told as events."""
    found = run(modules, KEPT)
    assert found["early"] == 0
    assert found["now"] == found["stale"] == ["a", "c"]
    assert found["after"] == ["a", "d"]
    assert found["resynced"] == ["d"]
    assert found["seen"] == [
        [],
        ["added c", "changed a", "removed b"],
        ["removed c", "changed a", "added d"],
        ["removed a"],
    ]
