"""A handful of the fault cases, small: `make faults` runs all of them, larger."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from faults.cases import CASES, crowds, cuts, failpoints, kills, push, sms
from faults.rig import Rig, Row, rigged
from faults.ways import APNS, FCM, SMS
from node_programs import npm_smpp, program
from petitbleu.failpoints import PLACES

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def rig(real_parts: Any) -> Iterator[Rig]:
    with rigged(0.1) as made:
        real_parts.used("PostgreSQL that is killed", made.cluster.server.origin)
        yield made


def check(row: Row) -> None:
    assert row.verdict == "ok", f"{row.variant}: {row.verdict}; {row.figures}"
    assert row.judged.acked > 0


async def test_a_worker_killed_before_the_hand_off_costs_nothing(rig: Rig) -> None:
    check(await failpoints.at(rig, "after_render", 16, 10, workers=1))


async def test_a_worker_killed_after_the_answer_costs_a_double_at_most(rig: Rig) -> None:
    row = await failpoints.at(rig, "before_result", 16, 10, workers=1)
    check(row)
    # the case is of use only if there was something to double
    assert 0 < row.judged.dup == row.judged.h


async def test_a_commit_whose_answer_is_cut_off_stores_each_event_once(rig: Rig) -> None:
    check(await cuts.commit_unanswered_at_intake(rig, 12, "keyed", cuts.COMMIT, 3))
    check(await cuts.commit_unanswered_at_intake(rig, 12, "note", cuts.ANY_KEY, 3))


async def test_killed_backends_are_survived(rig: Rig) -> None:
    check(await kills.database_killed(rig, 0, 2, patience=15))


async def test_overload_is_refused_early(rig: Rig) -> None:
    check(await crowds.overload(rig, 4, 60))


@pytest.fixture(scope="module")
def provided(rig: Rig, real_parts: Any) -> Rig:
    """A rig whose messages go to providers on node."""
    real_parts.used("npm smpp", npm_smpp()[0])
    version = subprocess.run([program("node"), "--version"], check=True, capture_output=True, text=True).stdout.strip()
    real_parts.used("node http2 and http", version)
    return rig


async def test_a_worker_killed_with_an_sms_under_way_costs_no_double(provided: Rig) -> None:
    row = await failpoints.at(provided, "after_reply", 16, 10, workers=1, case="S1", way=SMS)
    check(row)
    # the case is of use only if something was in doubt
    assert row.judged.h > row.judged.unknown == 0


async def test_what_was_under_way_when_the_smsc_cut_is_known_by_its_receipts(provided: Rig) -> None:
    check(await sms.window_cut(provided, 40, 1))


async def test_receipts_find_their_messages_however_they_come(provided: Rig) -> None:
    check(await sms.receipts_at_will(provided, 60, {"early": 5, "twice": 3, "delay": 300, "elsewhere": True}))


async def test_a_goaway_under_load_loses_and_doubles_nothing(provided: Rig) -> None:
    check(await push.harmed(provided, APNS, "GOAWAY", {"goaway": True}, 60, 10))


async def test_dead_tokens_are_written_to_no_more_and_stale_ones_are(provided: Rig) -> None:
    check(await push.tokens(provided, APNS, 40))


async def test_expired_credentials_cost_no_attempt(provided: Rig) -> None:
    check(await push.expired(provided, FCM, 40))


async def test_every_case_is_listed_once() -> None:
    mail = [f"F{number}" for number in (1, 2, *range(4, 20), 22, 23, 24)]
    assert list(CASES) == [*mail, *(f"{kind}{number}" for kind in "SP" for number in range(1, 7)), "W1"]
    assert set(failpoints.DOUBLES) < set(PLACES)
