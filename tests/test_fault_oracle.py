"""The oracle finds every kind of defect, and none where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from faults.oracle import Call, Receipt, Records, Report, Stored, Strike, Tried, Verdict, judge, percentiles

GOOD = Records(
    calls=[
        Call(("a",), "acked", (1,), 100.0, 100.1),
        Call(("b", "c"), "acked", (2, 3), 101.0, 101.2, scheduled=105.0, expires=160.0),
        Call(("d",), "refused", (), 102.0, 102.1),
        Call(("e",), "indeterminate", (), 103.0, 108.0),
        Call(("f",), "acked", (5,), 104.0, 104.1),
    ],
    receipts=[Receipt(1, 100.5), Receipt(2, 105.5), Receipt(3, 106.0), Receipt(4, 108.0)],
    events=[
        Stored(1, "a", "sent", processed=100.6),
        Stored(2, "b", "sent", processed=105.6),
        Stored(3, "c", "sent", processed=106.1),
        Stored(4, "e", "sent", processed=108.1),
        Stored(5, "f", "failed", "550 no such mailbox", processed=104.6),
    ],
    attempts=[Tried(1, 1, "delivered"), Tried(2, 1, "unknown"), Tried(2, 2, "delivered"), Tried(5, 1, "failed")],
    strikes=[Strike(100.2, frozenset((1,)), frozenset((1,))), Strike(105.1, frozenset((2,)))],
    waited=110.0,
)
WAITING = Stored(1, "a", "pending", queued=True)
HALF = [one for one in GOOD.receipts if one.id != 3]
DEFECTS = (
    "lost", "dup", "ghosts", "false_sent", "false_failed", "same_key", "partial", "two_finals", "early", "late",
    "unmatched", "misreported", "over_window", "wrongly_suppressed", "unsuppressed",
)  # fmt: skip
BOUNCED = Stored(1, "a", "sent", processed=100.6, feedback="bounced")


def counted(records: Records) -> dict[str, int]:
    verdict = judge(records)
    return {name: getattr(verdict, name) for name in DEFECTS if getattr(verdict, name)}


def changed(**changes: Any) -> Records:
    return replace(GOOD, **changes)


def without(events: Sequence[Stored], number: int, *instead: Stored) -> list[Stored]:
    return [*(one for one in events if one.id != number), *instead]


def test_what_is_in_order_is_counted_and_nothing_is_found() -> None:
    assert counted(GOOD) == {}
    verdict = judge(GOOD)
    assert (verdict.acked, verdict.refused, verdict.indeterminate, verdict.received) == (4, 1, 1, 4)
    assert (verdict.failed, verdict.unknown, verdict.h) == (1, 0, 1)
    assert verdict.recovery == pytest.approx(0.5)
    assert verdict.answer == pytest.approx((0.1, 0.2, 0.2))
    assert verdict.delivery == pytest.approx((0.4, 0.4, 0.4))
    assert judge(Records()) == Verdict()


@pytest.mark.parametrize(
    ("defects", "records"),
    [
        # acknowledged, and nobody has it any more
        ({"lost": 1}, changed(receipts=GOOD.receipts[1:], events=without(GOOD.events, 1))),
        # it still waits when the wait is over
        ({"lost": 1}, changed(receipts=GOOD.receipts[1:], events=without(GOOD.events, 1, WAITING))),
        # ended without a reason
        ({"lost": 1}, changed(events=without(GOOD.events, 5, Stored(5, "f", "failed")))),
        # said to be sent, never received: both lost and a lie
        ({"lost": 1, "false_sent": 1}, changed(receipts=GOOD.receipts[1:])),
        ({"dup": 1}, changed(receipts=[*GOOD.receipts, Receipt(1, 101.0)])),
        ({"dup": 2}, changed(receipts=[*GOOD.receipts, Receipt(1, 101.0), Receipt(1, 102.0)])),
        # refused, yet stored
        ({"ghosts": 1}, changed(events=[*GOOD.events, Stored(6, "d", "pending", queued=True)])),
        # received, and nobody ever stored it
        ({"ghosts": 1}, changed(receipts=[*GOOD.receipts, Receipt(77, 101.0)])),
        ({"false_failed": 1}, changed(receipts=[*GOOD.receipts, Receipt(5, 104.5)])),
        ({"same_key": 1}, changed(events=[*GOOD.events, Stored(6, "e", "ignored", "cancelled")])),
        ({"partial": 1, "lost": 1}, changed(receipts=HALF, events=without(GOOD.events, 3))),
        ({"two_finals": 1}, changed(attempts=[*GOOD.attempts, Tried(1, 2, "delivered")])),
        ({"early": 1}, changed(receipts=[*GOOD.receipts[:1], Receipt(2, 104.9), *GOOD.receipts[2:]])),
        # a part of it came twice, the other once
        ({"dup": 1}, changed(receipts=[*GOOD.receipts, Receipt(1, 100.5, 2), Receipt(1, 101.0, 2)])),
        ({"unmatched": 2}, changed(unmatched=2)),
        ({"over_window": 3}, changed(over_window=3)),
        # what the provider said is not known, or something else is
        ({"misreported": 1}, changed(reports=[Report(1, "received")])),
        ({"misreported": 1}, changed(reports=[Report(1, "received")], events=without(GOOD.events, 1, BOUNCED))),
        ({"wrongly_suppressed": 1}, changed(suppressed=frozenset("ab"), dead=frozenset("b"))),
        ({"unsuppressed": 1}, changed(suppressed=frozenset("a"), dead=frozenset("ab"))),
        ({"late": 1}, changed(receipts=[*GOOD.receipts[:1], Receipt(2, 162.5), *GOOD.receipts[2:]])),
    ],
)  # fmt: skip
def test_each_defect_is_counted_as_what_it_is(defects: dict[str, int], records: Records) -> None:
    assert counted(records) == defects


def test_parts_and_reports_that_are_in_order_are_no_defects() -> None:
    parts = [*GOOD.receipts, Receipt(1, 100.5, 2), Receipt(1, 100.6, 3)]
    records = changed(receipts=parts, reports=[Report(1, "bounced")] * 2, events=without(GOOD.events, 1, BOUNCED))
    assert counted(records) == {}
    assert judge(records).received == 4
    assert counted(changed(dead=frozenset("b"), suppressed=frozenset("b"))) == {}


def test_what_was_taken_and_then_bounced_has_failed() -> None:
    bounced = Stored(5, "f", "failed", "it did not arrive: UNDELIV", processed=104.6, feedback="bounced")
    records = changed(events=without(GOOD.events, 5, bounced), receipts=[*GOOD.receipts, Receipt(5, 104.5)])
    assert counted(replace(records, reports=[Report(5, "bounced")])) == {}
    assert counted(replace(records, reports=[Report(5, "received")])) == {"false_failed": 1, "misreported": 1}


def test_a_call_that_was_refused_and_then_repeated_makes_no_ghost() -> None:
    again = [*GOOD.calls, Call(("d",), "acked", (6,), 103.0, 103.1)]
    records = changed(
        calls=again, receipts=[*GOOD.receipts, Receipt(6, 103.5)], events=[*GOOD.events, Stored(6, "d", "sent")]
    )
    assert counted(records) == {}


def test_an_end_that_says_that_nobody_knows_is_no_lie() -> None:
    ended = Stored(5, "f", "failed", "unknown: the worker stopped after the hand-over", processed=104.6)
    verdict = judge(changed(events=without(GOOD.events, 5, ended), receipts=[*GOOD.receipts, Receipt(5, 104.5)]))
    assert (verdict.false_failed, verdict.failed, verdict.unknown, verdict.lost) == (0, 0, 1, 0)


def test_recovery_runs_from_the_last_strike_to_the_end_or_as_long_as_was_waited() -> None:
    twice = [*GOOD.strikes, Strike(105.5, frozenset((2,)))]
    assert judge(changed(strikes=twice)).recovery == pytest.approx(0.4)
    open_end = without(GOOD.events, 2, Stored(2, "b", "pending", queued=True))
    assert judge(changed(events=open_end)).recovery == pytest.approx(4.9)
    assert judge(changed(strikes=[Strike(100.0)])).recovery is None


def test_h_may_be_known_better_than_by_strikes() -> None:
    assert judge(changed(handed_off=7)).h == 7


def test_what_exceeds_is_named_with_examples() -> None:
    verdict = judge(changed(receipts=[*GOOD.receipts, Receipt(1, 101.0)]))
    assert verdict.broken(dup=0, lost=0, recovery=0.4) == ["dup 1 > 0 (1)", "recovery 0.5 > 0.4"]
    assert verdict.broken(dup=1) == []
    with pytest.raises(ValueError, match="does not count 'dups'"):
        verdict.broken(dups=0)


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([]) is None
    assert percentiles([3.0]) == (3.0, 3.0, 3.0)
    assert percentiles(float(one) for one in range(100)) == (50.0, 95.0, 99.0)
