"""Levels change when values have been beyond a threshold, or well below it, for long enough, and not otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from petitbleu.alerts.thresholds import ALERT, OK, WARNING, Gate, Pace, Standing, Terms, judge

TERMS = Terms(100, 400)
PACE = Pace(60, 300, 0.8)
VALUES = st.lists(st.tuples(st.integers(1, 120), st.sampled_from([0, 79, 80, 99, 100, 319, 320, 399, 400, 900])))


RED = Standing(Gate(True), Gate(True))


def judged(values: Sequence[tuple[int, float]], standing: Standing = Standing(), terms: Terms = TERMS) -> list[int]:
    """Its levels after each (seconds since the one before, value)."""
    found, now = [], 0
    for seconds, value in values:
        now += seconds
        standing = judge(standing, value, terms, PACE, now)
        found.append(standing.level)
    return found


@pytest.mark.parametrize(
    ("seconds", "value", "level"),
    [(59, 900, OK), (60, 900, ALERT), (60, 399, WARNING), (60, 99, OK), (3600, 99, OK)],
)
def test_a_threshold_counts_once_it_was_reached_for_long_enough(seconds: int, value: float, level: int) -> None:
    assert judged([(10, value), (seconds, value)])[-1] == level


@pytest.mark.parametrize(
    ("seconds", "value", "level"),
    [(299, 0, ALERT), (300, 0, OK), (300, 80, WARNING), (300, 319, WARNING), (9999, 320, ALERT), (9999, 399, ALERT)],
)
def test_it_is_well_once_it_was_well_below_for_long_enough(seconds: int, value: float, level: int) -> None:
    assert judged([(10, value), (seconds, value)], RED)[-1] == level


def test_a_value_that_goes_up_and_down_changes_nothing() -> None:
    up_and_down = [(20, value) for value in (401, 0) * 100]
    assert {*judged(up_and_down)} == {OK}
    assert {*judged(up_and_down, RED)} == {ALERT}


def test_each_threshold_has_a_time_of_its_own() -> None:
    assert judged([(0, 150), (30, 900), (30, 900), (30, 900)]) == [OK, OK, WARNING, ALERT]
    assert judged([(0, 900), (30, 150), (30, 900), (30, 900), (30, 900)]) == [OK, OK, WARNING, WARNING, ALERT]


def test_a_threshold_can_be_left_out() -> None:
    assert judged([(10, 900), (60, 900)], terms=Terms(100, None))[-1] == WARNING
    assert judged([(10, 300), (60, 300)], terms=Terms(None, 400))[-1] == OK
    # one that is taken away lets go of what stood at it
    assert judged([(10, 900), (300, 900)], RED, Terms(100, None))[-1] == WARNING


@given(VALUES, st.booleans())
def test_every_change_has_its_reason(values: list[tuple[int, float]], reached: bool) -> None:
    """By a second way of telling: all values of the time before the change, and of no shorter one."""
    gate, now, seen = Gate(reached), 0, list[tuple[int, float]]()
    changed = 0
    for seconds, value in values:
        now += seconds
        seen.append((now, value))
        new = gate.after(value, 100, PACE, now)
        wait = PACE.clearing if gate.reached else PACE.raising
        before = [at for at, _ in seen if changed < at <= now - wait]
        said = [(value < 80) if gate.reached else (value >= 100) for at, value in seen if before and at >= before[-1]]
        assert (new.reached != gate.reached) == (bool(before) and all(said))
        changed = now if new.reached != gate.reached else changed
        gate = new
