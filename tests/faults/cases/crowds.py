"""F9, F10, F16, F22, F23: too many calls, too many events, too many claimers, and somebody else's long transaction."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import asyncpg

from ..callers import Callers
from ..oracle import percentiles
from ..rig import Case, Rig, Row, World, row
from ..site import Server, get


async def f9(rig: Rig) -> AsyncIterator[Row]:
    yield await overload(rig, 25 * max(1.0, rig.size), 120)


async def overload(rig: Rig, seconds: float, callers_at_once: int) -> Row:
    """Many more callers than the relay's pace allows, and a queue that is soon full."""
    async with rig.world({"limits.pending": 300}) as world:
        server = await world.site.serve("all")
        async with world.callers(server) as callers:
            await callers.pushed(rig.events(200))
            await world.idle()
            base = _resident(server)
            await world.sink.tell("delay 0.4")  # 20 connections: 50 messages a second
            end = time.monotonic() + seconds
            before = len(callers.calls)
            await callers.load(lambda: time.monotonic() > end, callers_at_once)
            grown = _resident(server) / base
            refused = [one for one in callers.calls[before:] if one.said == "refused"]
            await world.sink.tell("delay 0")
            judged = await world.verdict(120, h="unknown")
        told = percentiles(one.ended - one.began for one in refused)
    return row(
        "F9",
        f"{callers_at_once} callers at once for {seconds:.0f} s",
        judged,
        {
            "the excess is refused": len(refused) > 100,
            "it is told when to come back": callers.retry_after >= len(refused),
            "refused early": told is not None and told[2] <= 2,
            "accepted within 2 s (p99)": judged.answer is not None and judged.answer[2] <= 2,
            "memory at most x1.5": grown <= 1.5,
        },
        {
            "refused": len(refused),
            "refused p99 s": round(told[2], 2) if told else None,
            "accepted p99 s": round(judged.answer[2], 2) if judged.answer else None,
            "memory": f"x{grown:.2f}",
        },
        dup=0,
        failed=0,
        false_failed=0,
        indeterminate=0,
    )


def _resident(server: Server) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])


async def f10(rig: Rig) -> AsyncIterator[Row]:
    yield await collections_cut(rig, rig.events(200), 12)


async def collections_cut(rig: Rig, events: int, kills: int) -> Row:
    """`PushEvents` with one bad event among many, then good ones whose server is killed in the middle."""
    async with rig.world({"limits.events": events}) as world:
        first = await world.site.serve("intake")
        async with world.callers(first) as callers:
            keys = [callers.key() for _ in range(events)]
            bad = await callers.push(*keys[:-1], keys[-1] + " no address")
            # as those below: the first call of a server takes longer than the next
            await first.kill()
            server = await world.site.serve("intake")
            keys = [callers.key() for _ in range(events)]
            began = time.monotonic()
            whole = await callers.push(*keys, url=server.url)
            took = time.monotonic() - began
            await server.kill()
            await world.site.serve("intake")
            for number in range(kills):
                server = world.living("intake")[0]
                keys = [callers.key() for _ in range(events)]
                call = asyncio.create_task(callers.push(*keys, url=server.url))
                await asyncio.sleep((0.2 + 1.2 * number / kills) * took)
                await server.kill()
                await call
                await world.site.serve("intake")
            cut = sum(one.said == "indeterminate" for one in callers.calls)
            for _ in range(2):
                await world.site.serve("worker")
            judged = await world.verdict(120)
    return row(
        "F10",
        f"PushEvents of {events}, {kills} kills in the middle",
        judged,
        {"the bad one is refused": bad.said == "refused", "the good one is taken": whole.said == "acked",
         "calls were cut": cut > kills // 3},
        {"cut": cut, "a call takes s": round(took, 2)},
        dup=0,
        failed=0,
        false_failed=0,
    )  # fmt: skip


CLAIM = "petitbleu_claim_seconds"
HISTORY = """
CREATE TABLE history (
    number bigserial, id bigint, old_state int, old_lease text, old_until bigint, lease text, until bigint, at bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history (id, old_state, old_lease, old_until, lease, until, at)
    VALUES (NEW.id, OLD.state, OLD.lease, OLD.leased_until, NEW.lease, NEW.leased_until,
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON queue FOR EACH ROW
WHEN (NEW.lease IS NOT NULL AND NEW.lease IS DISTINCT FROM OLD.lease) EXECUTE FUNCTION note();
"""
"""Every lease that is given, with what the row had before."""
OVERLAPS = "SELECT count(*) FROM history WHERE old_state = 2 AND old_lease IS NOT NULL AND old_until > at"


async def f16(rig: Rig) -> AsyncIterator[Row]:
    yield await leases_apart(rig, rig.events(2500), 8)


async def leases_apart(rig: Rig, events: int, claimers: int) -> Row:
    """Eight claimers with short leases, some of which are stopped and go on too late: no event is leased to two."""
    chance = random.Random(16)
    async with rig.world({"delivery.lease": "1.5s", "limits.pending": 1_000_000}) as world:
        connection = await asyncpg.connect(world.site.database.url)
        await connection.execute(HISTORY)
        await connection.close()
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            for _ in range(events // 100):
                await callers.push(*(callers.key() for _ in range(100)))
            workers = await asyncio.gather(*(world.site.serve("worker") for _ in range(claimers)))
            for _ in range(3):
                await asyncio.sleep(0.3)
                victim = chance.choice(workers)
                victim.send(signal.SIGSTOP)
                await asyncio.sleep(2.5)
                victim.send(signal.SIGCONT)
            judged = await world.verdict(120, h="unknown")
        leases = await world.site.database.number("SELECT count(*) FROM history")
        overlaps = await world.site.database.number(OVERLAPS)
        shared = await world.site.database.number("SELECT count(DISTINCT split_part(lease, '-', 1)) FROM history")
    return row(
        "F16",
        f"{claimers} claimers, {events} events",
        judged,
        {
            "no two leases overlap": overlaps == 0,
            "every event was leased": leases >= events,
            "all took part": shared > 3,
        },
        {"leases": leases, "overlaps": overlaps, "claimers": shared},
        dup=judged.h,
        false_failed=0,
    )


async def f22(rig: Rig) -> AsyncIterator[Row]:
    yield await horizon_held(rig, rig.events(2500))


async def horizon_held(rig: Rig, events: int) -> Row:
    """Somebody's transaction stays open, and a backup is taken, while events come and go."""
    async with rig.world({"limits.pending": 1_000_000, "monitoring.horizon": "2s"}) as world:
        server = await world.site.serve("all")
        async with world.callers(server) as callers:
            await _pace(world, callers, events)
            free = [await _pace(world, callers, events)]
            before = _buckets(await _metrics(server), CLAIM)
            other = await asyncpg.connect(world.site.database.url)
            await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM queue")
            held = [await _pace(world, callers, events)]
            alarm = await _alarmed(server.url)
            dump = await asyncio.create_subprocess_exec(
                "pg_dump", "--file=/dev/null", f"--dbname={_libpq(world.site.database.url)}"
            )
            code = await dump.wait()
            held.append(await _pace(world, callers, events))
            claim = _percentile(_since(before, _buckets(await _metrics(server), CLAIM)), 0.95)
            usual = _percentile(before, 0.95)
            await other.close()
            free.append(await _pace(world, callers, events))
            judged = await world.verdict(60, h="unknown")
    share = (sum(held) / len(held)) / (sum(free) / len(free))
    return row(
        "F22",
        "a transaction stays open",
        judged,
        {
            "at least 80 % of the pace": share >= 0.8,
            "claims within 25 ms (p95), or as usual": claim <= max(0.025, usual),
            "the backup": code == 0,
            "an alarm is raised": alarm,
        },
        {
            "events/s free": " ".join(f"{one:.0f}" for one in free),
            "held": " ".join(f"{one:.0f}" for one in held),
            "share": f"{share:.0%}",
            "claim p95 s": claim,
            "usually": usual,
        },
        dup=0,
        h=0,
        failed=0,
        false_failed=0,
    )


async def _alarmed(url: str, seconds: float = 15.0) -> bool:
    """Whether the health page speaks of the transaction, once that is old enough for it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if "keeps dead rows" in (await get(f"{url}/readyz"))[1]:
            return True
        await asyncio.sleep(0.2)
    return False


async def _pace(world: World, callers: Callers, events: int) -> float:
    """Events a second, from the first call until the queue is empty."""
    began = time.monotonic()
    await callers.pushed(events, 16)
    await world.idle(60)
    return events / (time.monotonic() - began)


def _libpq(url: str) -> str:
    before, _, host = url.partition("?host=")
    return f"host={host} user=postgres dbname={before.rpartition('/')[2]}"


async def _metrics(server: Server) -> str:
    return (await get(f"{server.url}/metrics"))[1]


def _buckets(text: str, name: str) -> dict[float, float]:
    """Of a histogram, over all label sets: how many were no longer than each bound, in seconds."""
    buckets: dict[float, float] = {}
    for line in text.splitlines():
        if found := re.match(rf'{name}_bucket{{.*le="([^"]+)".*}} (\S+)', line):
            bound = float(found[1].replace("+Inf", "inf"))
            buckets[bound] = buckets.get(bound, 0) + float(found[2])
    return buckets


def _since(before: Mapping[float, float], after: Mapping[float, float]) -> dict[float, float]:
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def _percentile(buckets: Mapping[float, float], share: float) -> float:
    """The bound of the bucket it falls in."""
    total = max(buckets.values(), default=0)
    return next((bound for bound, count in sorted(buckets.items()) if total and count >= share * total), 0.0)


CROWD = """
WITH new AS (
    SELECT ({cell} + {first} + n)::bigint AS id, CASE WHEN n % 2 = 0 THEN 1 ELSE 0 END AS state,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
    FROM generate_series(1, {count}) n),
events AS (
    INSERT INTO events (id, type, lane, channel, status, created, process_requested, external_id, origin, email,
                        mobile_phone)
    SELECT id, 'note', 0, 'email', 'pending', now, now, 'crowd', '', '', '' FROM new WHERE state = 1
    RETURNING id),
payloads AS (
    INSERT INTO payloads (id, body) SELECT events.id, '{body}' FROM events)
INSERT INTO queue (id, state, lane, priority, due, expires, type, channel)
SELECT id, state, 0, 50, CASE WHEN state = 1 THEN now ELSE now + 86400000000 END, now + 172800000000, 'note', 'email'
FROM new
"""


async def f23(rig: Rig) -> AsyncIterator[Row]:
    yield await urgent_among_many(rig, int(1_000_000 * min(1.0, rig.size)))


async def urgent_among_many(rig: Rig, crowd: int) -> Row:
    """Half of a million events are due, half wait for tomorrow; then one comes that is urgent."""
    async with rig.world({"limits.pending": 10 * crowd, "delivery.concurrency": 10}) as world:
        await world.sink.tell("delay 0.05")
        intake = await world.site.serve("intake")
        async with world.callers(intake) as callers:
            first = await callers.push(priority=100)
            body = (await world.site.database.rows("SELECT body FROM payloads"))[0]["body"].replace("'", "''")
            connection = await asyncpg.connect(world.site.database.url, command_timeout=300)
            # the pattern for the crowd is no event of the test
            world.calls.clear()
            for name in ("events", "queue", "payloads"):
                await connection.execute(f"DELETE FROM {name} WHERE id = {first.ids[0]}")
                await connection.execute(f"ALTER TABLE {name} SET UNLOGGED")  # it is not their durability that is tried
            for number in range(10):
                text = CROWD.format(
                    cell=first.ids[0], first=1_000_000 + number * crowd // 10, count=crowd // 10, body=body
                )
                await connection.execute(text)
            await connection.execute("ANALYZE queue")
            await connection.close()
            await world.site.serve("worker")
            await asyncio.sleep(2)
            waits: list[float] = []
            for _ in range(10):
                call = await callers.push(priority=0)
                waits.append(await _first_receipt(world, call.ids[0]) - call.began)
                await asyncio.sleep(0.2)
            open_rows = await world.site.database.number("SELECT count(*) FROM queue")
            connection = await asyncpg.connect(world.site.database.url, command_timeout=300)
            await world.site.stop()
            await connection.execute(
                "TRUNCATE queue; DELETE FROM events WHERE external_id = 'crowd' AND status = 'pending'"
            )
            await connection.execute("UPDATE events SET external_id = '' WHERE external_id = 'crowd'")
            await connection.close()
            judged = await world.verdict(1)
    return row(
        "F23",
        f"an urgent event among {crowd:,}",
        judged,
        {"served within 2 s": max(waits) <= 2, "the others still wait": open_rows > crowd // 2},
        {"slowest s": round(max(waits), 2), "open": open_rows},
        dup=0,
        failed=0,
    )


async def _first_receipt(world: World, event_id: int, seconds: float = 30) -> float:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for receipt in world.sink.receipts():
            if receipt.id == event_id:
                return receipt.at
        await asyncio.sleep(0.02)
    return time.time()


CASES = (
    Case("F9", "overload", f9),
    Case("F10", "PushEvents is all or nothing", f10),
    Case("F16", "leases do not overlap", f16),
    Case("F22", "a transaction that stays open", f22, ("pg_dump",)),
    Case("F23", "an urgent event among a million", f23),
)
