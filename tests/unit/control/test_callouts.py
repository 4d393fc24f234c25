"""mdevctl's scripts are run as mdevctl 1.4 runs them, but a veto that cannot be asked is one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from nodedevd.actions.callouts import callout, with_callouts
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.plan import CalloutAction, CalloutEvent, RunCallouts
from nodedevd.control.callouts import DIRECTORIES
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import Ran, StepHost, StepRefused
from nodedevd.errors import NotPossible, Vetoed
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.questions.in_use import VfioUsage
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
DEFINITION = Definition("mtty-1", autostart=False, attributes=(MdevAttribute("a", "ü"),))
LINE = '{"mdev_type":"mtty-1","start":"manual","attrs":[{"a":"ü"}]}'
OURS, THEIRS = DIRECTORIES[1], DIRECTORIES[0]
SUPPORTS = {
    "version": 2,
    "actions": ["start", "stop", "define", "undefine", "modify", "attributes", "capabilities"],
    "events": ["pre", "post", "notify", "get", "live"],
}

Answer = Ran | OSError | Callable[[str, str], Ran]


class Scripts:
    """Scripts of a sample host, and what they were asked."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, str, str]] = []  # name, event, state
        self.argvs: list[Sequence[str]] = []
        self.inputs: list[bytes] = []
        self.host = StepHost(
            sysroot=Sysroot(str(root)), write_file=lambda path, value: None, run_program=self.run
        )

    def script(self, name: str, answer: Answer, *, kind: str = "callouts", base: str = OURS) -> str:
        """Install a script that answers so."""
        path = self.tree.file(f"{base}/{kind}/{name}", "#!/bin/sh\n")
        Path(self.tree.at(path)).chmod(0o755)
        self.answers[name] = answer
        return path

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float | None) -> Ran:
        """Play a script."""
        assert timeout is not None
        name = argv[0].rpartition("/")[2]
        words = dict(zip(argv[1::2], argv[2::2], strict=True))
        self.calls.append((name, f"{words['-e']} {words['-a']}", words["-s"]))
        self.argvs.append(argv)
        self.inputs.append(stdin)
        answer = self.answers[name]
        if isinstance(answer, OSError):
            raise answer
        return answer if isinstance(answer, Ran) else answer(words["-e"], words["-a"])

    def do(self, event: CalloutEvent = "pre") -> None:
        """Run the step of an event of `define`, or of `modify`."""
        step = self.step(event)
        HANDLERS[RunCallouts].do(step, self.host)

    def undo(self, event: CalloutEvent = "pre") -> None:
        """Undo the step."""
        HANDLERS[RunCallouts].undo(self.step(event), self.host)

    def step(self, event: CalloutEvent) -> RunCallouts:
        """Return the step."""
        action: CalloutAction = "modify" if event == "live" else "define"
        return callout(event, action, "mtty", UUID, DEFINITION)

    def asked(self) -> list[tuple[str, str, str]]:
        """Return the calls, without the question for capabilities."""
        return [one for one in self.calls if one[1] != "get capabilities"]


def ended(status: int, stderr: bytes = b"", stdout: bytes = b"") -> Ran:
    """Return the end of a script."""
    return Ran(status, stdout, stderr)


def versioned(answer: Answer, **supports: object) -> Answer:
    """Return a script that knows the question for capabilities."""

    def run(event: str, action: str) -> Ran:
        if (event, action) == ("get", "capabilities"):
            return ended(0, stdout=json.dumps({"supports": {**SUPPORTS, **supports}}).encode())
        assert not isinstance(answer, OSError)
        return answer if isinstance(answer, Ran) else answer(event, action)

    return run


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """No scripts, yet."""
    return Scripts(tmp_path)


# What is run


def test_without_scripts_nothing_is_run(scripts: Scripts) -> None:
    """Nor if the directories are empty, or have directories."""
    events: tuple[CalloutEvent, ...] = ("pre", "post", "notify")
    for event in events:
        scripts.do(event)
    scripts.tree.directory(f"{OURS}/callouts/old")
    scripts.tree.directory(f"{OURS}/notifiers")
    scripts.do()
    scripts.undo()
    assert scripts.calls == []


def test_argv_and_input_are_those_of_mdevctl(scripts: Scripts) -> None:
    """The definition is one line on standard input, for notifiers, too."""
    path = scripts.script("a.sh", ended(0))
    scripts.script("n.sh", ended(0), kind="notifiers")
    scripts.do("pre")
    scripts.do("notify")
    question, pre, notify = scripts.argvs
    rest = ["-u", UUID, "-p", "mtty"]
    place = scripts.tree.at(path)
    assert question[:3] == [place, "-t", "mtty-1"]
    assert question[3:] == ["-e", "get", "-a", "capabilities", "-s", "none", *rest]
    assert pre == [place, "-t", "mtty-1", "-e", "pre", "-a", "define", "-s", "none", *rest]
    assert notify[3:] == ["-e", "notify", "-a", "define", "-s", "success", *rest]
    assert [one.decode() for one in scripts.inputs[1:]] == [LINE, LINE]
    assert json.loads(scripts.inputs[0]) == {
        "provides": {
            "version": 2,
            "actions": SUPPORTS["actions"],
            "events": SUPPORTS["events"],
        }
    }


def test_first_script_for_the_type_decides(scripts: Scripts) -> None:
    """Status 2 is "not for this type"; those of the distribution come first."""
    scripts.script("b.sh", ended(0))
    scripts.script("a.sh", ended(2))
    scripts.script("z.sh", ended(2), base=THEIRS)
    scripts.script("c.sh", ended(1))
    scripts.do()
    assert [name for name, _, _ in scripts.asked()] == ["z.sh", "a.sh", "b.sh"]


def test_script_that_knows_the_question_is_the_only_one(scripts: Scripts) -> None:
    """As from mdevctl 1.4; before and after the change."""
    scripts.script("a.sh", ended(1))
    scripts.script("b.sh", versioned(ended(0)))
    scripts.script("c.sh", versioned(ended(1)))
    scripts.do("pre")
    scripts.do("post")
    assert scripts.asked() == [
        ("b.sh", "pre define", "none"),
        ("b.sh", "post define", "success"),
    ]
    assert ("c.sh", "get capabilities", "none") not in scripts.calls


@pytest.mark.parametrize(
    "answer",
    [
        ended(0),
        ended(1, stdout=b"unknown event"),
        ended(0, stdout=b"{}"),
        ended(0, stdout=b'{"supports":null}'),
        ended(0, stdout=b'{"supports":{"version":2}}'),
        ended(2, stdout=json.dumps({"supports": SUPPORTS}).encode()),
        ended(0, stdout=b"[" * 100_000),
        ended(0, stdout=b"\xff"),
    ],
)
def test_script_that_does_not_know_the_question_is_as_of_1_2(scripts: Scripts, answer: Ran) -> None:
    """Whatever it answers: it is asked for a veto."""
    scripts.script("a.sh", lambda event, action: answer if event == "get" else ended(1))
    with pytest.raises(Vetoed):
        scripts.do()


@pytest.mark.parametrize("end", [b"", b"\n", b"\0"])
def test_answer_may_be_of_a_later_version(scripts: Scripts, end: bytes) -> None:
    """Unknown members, actions and events are no matter, and neither is the status."""
    supports = {
        **SUPPORTS,
        "version": 3,
        "actions": ["define", "dance"],
        "more": [],
    }
    answer = ended(1, stdout=json.dumps({"supports": supports, "provides": {}}).encode() + end)
    scripts.script("a.sh", lambda event, action: answer if event == "get" else ended(0))
    scripts.script("b.sh", ended(1))
    scripts.do()


def test_all_notifiers_are_told(scripts: Scripts, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes of one of them."""
    scripts.script("a.sh", ended(1, b"no\nluck"), kind="notifiers")
    scripts.script("b.sh", OSError(8, "Exec format error"), kind="notifiers")
    scripts.script("c.sh", TimeoutError(), kind="notifiers")
    scripts.script("d.sh", ended(-9), kind="notifiers", base=THEIRS)
    scripts.script("e.sh", ended(0), kind="notifiers")
    scripts.do("notify")
    assert [name for name, _, _ in scripts.calls] == ["d.sh", "a.sh", "b.sh", "c.sh", "e.sh"]
    assert len(caplog.records) == 4
    assert "status 1: no luck" in caplog.text
    assert all(one.levelno == logging.WARNING for one in caplog.records)


# Vetoes


def test_veto_says_which_script_and_why(scripts: Scripts) -> None:
    """Notifiers learn of it, as from mdevctl 1.2."""
    path = scripts.script("a.sh", ended(1, b"the matrix\nis \x1b[31mfull\n" + b"x" * 5000))
    scripts.script("n.sh", ended(0), kind="notifiers")
    with pytest.raises(Vetoed) as raised:
        scripts.do()
    assert raised.value.script == path
    assert raised.value.detail.startswith("it ended with status 1: the matrix is ")
    assert raised.value.detail.isprintable()
    assert len(raised.value.detail) < 500
    assert scripts.asked()[-1] == ("n.sh", "notify define", "none")


def test_status_2_of_the_chosen_script_is_a_veto(scripts: Scripts) -> None:
    """It has said that the type is its own."""
    scripts.script("a.sh", versioned(ended(2)))
    with pytest.raises(Vetoed, match="status 2"):
        scripts.do()


@pytest.mark.parametrize("supports", [{"actions": ["start"]}, {"events": ["get", "post"]}])
def test_chosen_script_that_does_not_support_it_is_a_veto(
    scripts: Scripts, supports: dict[str, object]
) -> None:
    """As for mdevctl 1.4."""
    scripts.script("a.sh", versioned(ended(0), **supports))
    with pytest.raises(Vetoed, match="does not support the event pre of define"):
        scripts.do()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ended(-11), "killed by signal 11"),
        (OSError(8, "Exec format error"), "Exec format error"),
        (TimeoutError(), "not ended within 15 s"),
    ],
)
@pytest.mark.parametrize("asked", ["pre", "get"])
def test_script_that_cannot_be_asked_refuses(
    scripts: Scripts, answer: Answer, words: str, asked: str
) -> None:
    """Mdevctl would go on without its veto."""

    def run(event: str, action: str) -> Ran:
        if event != asked:
            return ended(0)
        if isinstance(answer, OSError):
            raise answer
        assert isinstance(answer, Ran)
        return answer

    path = scripts.script("a.sh", run)
    with pytest.raises(StepRefused, match="its veto is not known") as raised:
        scripts.do()
    assert path in raised.value.detail
    assert words in raised.value.detail


def test_script_that_is_not_executable_refuses(scripts: Scripts) -> None:
    """The error says what to do."""
    path = scripts.script("README", ended(0))
    Path(scripts.tree.at(path)).chmod(0o644)
    with pytest.raises(StepRefused, match=r"chmod \+x"):
        scripts.do()
    assert scripts.calls == []


@pytest.mark.parametrize("which", ["callouts/a.sh", "callouts", ""])
def test_script_that_others_may_change_is_not_run(scripts: Scripts, which: str) -> None:
    """Itself, or a directory in which it could be swapped."""
    scripts.script("a.sh", ended(0))
    Path(scripts.tree.at(f"{OURS}/{which}")).chmod(0o777)
    with pytest.raises(StepRefused, match="every user may change it"):
        scripts.do()
    assert scripts.calls == []


def test_link_is_followed_to_a_script_that_others_may_not_change(scripts: Scripts) -> None:
    """Packages install links; what they lead to is checked."""
    target = scripts.tree.file("/usr/libexec/a.sh", "#!/bin/sh\n")
    Path(scripts.tree.at(target)).chmod(0o755)
    scripts.tree.link(f"{OURS}/callouts/a.sh", "../../../../usr/libexec/a.sh")
    scripts.answers["a.sh"] = ended(0)
    scripts.do()
    assert scripts.asked() == [("a.sh", "pre define", "none")]
    Path(scripts.tree.at("/usr/libexec")).chmod(0o777)
    with pytest.raises(StepRefused, match="every user may change it"):
        scripts.do()


def test_link_that_others_may_swap_is_not_followed(scripts: Scripts) -> None:
    """One on the way, too, although the script at the end is root's."""
    target = scripts.tree.file("/usr/libexec/a.sh", "#!/bin/sh\n")
    Path(scripts.tree.at(target)).chmod(0o755)
    scripts.tree.link("/home/eve/a.sh", target)
    scripts.tree.link(f"{OURS}/callouts/a.sh", "/home/eve/a.sh")
    scripts.answers["a.sh"] = ended(0)
    scripts.do()
    scripts.calls.clear()
    Path(scripts.tree.at("/home/eve")).chmod(0o777)
    with pytest.raises(StepRefused, match="/home/eve: every user may change it"):
        scripts.do()
    assert scripts.calls == []


def test_directory_that_cannot_be_listed_refuses(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it is not known."""

    def listdir(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("nodedevd.control.callouts.os.listdir", listdir)
    with pytest.raises(StepRefused, match="cannot be listed"):
        scripts.do()


# Afterwards


def test_post_cannot_fail(scripts: Scripts, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    scripts.script("a.sh", ended(1, b"too late"))
    scripts.do("post")
    assert "too late" in caplog.text
    scripts.script("a.sh", OSError(2, "No such file or directory"))
    scripts.do("post")


def test_failed_action_is_told(scripts: Scripts) -> None:
    """To undo `pre` is to say so; nothing else of the callouts is undone."""
    scripts.script("a.sh", ended(0))
    scripts.script("n.sh", ended(0), kind="notifiers")
    scripts.undo()
    assert scripts.asked() == [
        ("a.sh", "post define", "failure"),
        ("n.sh", "notify define", "failure"),
    ]
    handler = HANDLERS[RunCallouts]
    events: tuple[CalloutEvent, ...] = ("pre", "live", "post", "notify")
    assert [handler.can_undo(scripts.step(event)) for event in events] == [True, True, False, False]
    assert handler.done(scripts.step("pre"), scripts.host) is None


# Live


def test_live_change_needs_a_script_that_can_do_it(scripts: Scripts) -> None:
    """One that knows the question, and the event."""
    with pytest.raises(NotPossible, match="stop and start"):
        scripts.do("live")
    scripts.script("a.sh", ended(0))
    with pytest.raises(NotPossible, match="stop and start"):
        scripts.do("live")
    scripts.script("a.sh", versioned(ended(0), events=["pre", "post", "get"]))
    with pytest.raises(NotPossible, match="stop and start"):
        scripts.do("live")
    assert scripts.asked() == []


def test_live_change_is_done_by_the_script(scripts: Scripts) -> None:
    """It may refuse, and it cannot be undone."""
    path = scripts.script("a.sh", versioned(ended(0)))
    scripts.do("live")
    assert scripts.asked() == [("a.sh", "live modify", "none")]
    assert scripts.inputs[-1].decode() == LINE
    with pytest.raises(StepRefused, match="cannot change it back"):
        scripts.undo("live")
    scripts.script("a.sh", versioned(ended(1, b"in use")))
    with pytest.raises(Vetoed, match=f"{path} refuses: it ended with status 1: in use"):
        scripts.do("live")


# Steps


def test_steps_are_between_the_callouts() -> None:
    """They survive the journal; on a host without scripts there are none."""
    facts = ActionFacts(usage=VfioUsage(), assignment=AssignmentFacts())
    inner = callout("live", "modify", "mtty", UUID, DEFINITION)
    steps = with_callouts(facts, "modify", "mtty", UUID, DEFINITION, [inner])
    assert [one.event for one in steps if isinstance(one, RunCallouts)] == [
        *("pre", "live", "post", "notify"),
    ]
    assert msgspec.json.decode(msgspec.json.encode(steps), type=tuple[RunCallouts, ...]) == steps
    without = msgspec.structs.replace(facts, callouts=False)
    assert with_callouts(without, "modify", "mtty", UUID, DEFINITION, [inner]) == (inner,)
