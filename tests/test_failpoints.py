"""Failpoints: read once, off by default, each place passed as often as an event passes it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import petitbleu.delivery.delivery
import pytest
from petitbleu.errors import PetitbleuError
from petitbleu.failpoints import ACTIONS, PLACES, VARIABLE, Failpoint, FailpointHit, Failpoints, read_failpoints


def test_nothing_is_on_unless_asked_for() -> None:
    assert read_failpoints({}) is None
    assert read_failpoints({VARIABLE: " "}) is None


def test_every_nth_passage_strikes() -> None:
    struck: list[str] = []
    actions = {name: lambda point, name=name: struck.append(name) for name in ACTIONS}
    points = Failpoints({"after_claim": Failpoint(3, "kill"), "after_reply": Failpoint(1, "raise")}, actions)
    counts = []
    for _ in range(7):
        points.passed("after_claim")
        points.passed("before_result")
        counts.append(len(struck))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
    points.passed("after_reply")
    assert struck == ["kill", "kill", "raise"]


def test_several_are_read_with_what_they_do(caplog: pytest.LogCaptureFixture) -> None:
    points = read_failpoints({VARIABLE: "before_handoff:1:raise, after_render:2:block 0.01"})
    assert points is not None
    with pytest.raises(FailpointHit):
        points.passed("before_handoff")
    points.passed("after_render")
    points.passed("after_render")
    assert "failpoints are on: before_handoff:1:raise, after_render:2:block 0.01" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("after_lunch:1:kill", "with a place of after_claim, "),
        ("after_claim:0:kill", "should be PLACE:EVERY:ACTION"),
        ("after_claim:1:explode", "an action of kill, stop, exit, raise, block"),
        ("after_claim:1:block", "block takes seconds, as in `block 20`"),
        ("after_claim:1:kill 5", "others take none"),
        ("after_claim:1:kill,", "'' should be"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(PetitbleuError, match=re.escape(words)) as raised:
        read_failpoints({VARIABLE: text})
    assert str(raised.value).startswith(f"{VARIABLE}: ")


@pytest.mark.parametrize(("action", "code"), [("kill", -signal.SIGKILL), ("exit", 70)])
def test_a_process_ends_as_asked(action: str, code: int) -> None:
    program = (
        "from petitbleu.failpoints import read_failpoints\n"
        f"points = read_failpoints({{'{VARIABLE}': 'after_claim:2:{action}'}})\n"
        "points.passed('after_claim'); print('once', flush=True); points.passed('after_claim'); print('twice')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (code, "once\n")


def test_delivery_passes_every_place_there_is() -> None:
    source = Path(petitbleu.delivery.delivery.__file__).read_text("utf-8")
    assert set(re.findall(r'self\._failpoints\.passed\("(\w+)"\)', source)) == set(PLACES)
