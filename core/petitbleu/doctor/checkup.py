"""The parts of an installation, one after the other, each asked how it is."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from ..config import FILE, findings
from ..errors import ConfigError, PetitbleuError
from ..instance import Instance, Plan, open_instance, plan
from .domains import LookUp, look_up
from .findings import Finding, Level

AREAS = ("configuration", "database", "templates", "providers", "dns", "clock", "disk", "versions")
SKEW = 2.0
"""Seconds by which two clocks may differ."""
GIB = 1 << 30
_OLDEST_POSTGRES = 130_000

Look = Callable[[Instance], Awaitable[list[Finding]]]


async def checkup(directory: Path | None, overrides: Sequence[str], areas: Iterable[str], ask: LookUp) -> list[Finding]:
    """What there is to say of the `areas` asked for, in the order of `AREAS`."""
    wanted = set(areas)
    try:
        planned = plan(directory, overrides)
    except ConfigError as error:
        return [_broken(one.where, f"{one.path}: {one.text}" if one.path else one.text) for one in error.problems]
    except PetitbleuError as error:
        return [_broken(FILE, str(error))]
    found = _configuration(planned)
    broken: list[Finding] = []
    senders = [brand.sender.address for brand in planned.config.brands.values() if brand.sender]
    if wanted & {*INSIDE, "dns"}:
        try:
            async with open_instance(directory, overrides) as instance:
                for area, look in INSIDE.items():
                    found += await _safely(area, look(instance)) if area in wanted else []
                senders += await _senders(instance)
        except PetitbleuError as error:
            todo = (
                "is it running, reachable from here, and is the setting `database` right? What only it knows is missing"
            )
            broken.append(Finding("database", "database", Level.PROBLEM, str(error), todo))
    if "providers" in wanted:
        found += await _safely("providers", _providers(planned))
    if "dns" in wanted:
        found += await _safely("dns", _dns(planned, senders, ask))
    found += [*await asyncio.to_thread(_disk, planned), *_versions(planned)]
    asked = [*broken, *(one for one in found if one.area in wanted)]
    return sorted(asked, key=lambda one: AREAS.index(one.area))


def _broken(name: str, text: str) -> Finding:
    return Finding("configuration", name, Level.PROBLEM, text, "correct it; nothing else can be looked at before")


async def _safely(area: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await look
    except Exception as error:
        text = f"cannot be looked at: {type(error).__name__}: {error}"
        return [Finding(area, area, Level.PROBLEM, text)]


def _configuration(planned: Plan) -> list[Finding]:
    plugins = ", ".join(plugin.name for plugin in planned.loaded.plugins) or "none"
    file = str(planned.config.directory / FILE)
    found = [Finding("configuration", file, Level.OK, f"in order; plugins {plugins}")]
    for text in findings(planned.config):
        name, _, words = text.partition(": ")
        found.append(Finding("configuration", name, Level.WARNING, words))
    return found


# ----------------------------------------------------------------------------------------------------------- database


async def _database(instance: Instance) -> list[Finding]:
    store = instance.store
    found = [Finding("database", store.dialect, Level.OK, "answers; tables up to date; keeps what it stores")]
    if store.dialect == "postgres":
        (row,) = await store.read("SELECT current_setting('server_version_num') AS number", [])
        if int(row["number"]) < _OLDEST_POSTGRES:
            text = f"PostgreSQL {int(row['number']) // 10_000} is older than what Petitbleu is tested with"
            found.append(Finding("database", "version", Level.WARNING, text, "use 13 or later"))
    backlog = await instance.queue.depth.backlog()
    waiting = sum(one.events for one in backlog)
    most = instance.config.limits.pending
    if waiting >= 0.8 * most:
        todo = "is a worker running, and its providers? If the wave is a wanted one, raise limits.pending"
        found.append(Finding("database", "queue", Level.WARNING, f"{waiting} of {most} open events", todo))
    late = max((one.oldest_due for one in backlog if one.state == "ready"), default=0.0)
    if late > 60:
        todo = "is a worker running? petitbleu serve; then see what /readyz says of the providers"
        found.append(Finding("database", "queue", Level.WARNING, f"an event has been due for {late:.0f} s", todo))
    if held := sum(one.events for one in backlog if one.state == "paused"):
        todo = "look at them with petitbleu events list --status paused, then release or cancel them"
        found.append(Finding("database", "queue", Level.WARNING, f"{held} events are held", todo))
    age = await instance.purge.age()
    if (await store.read("SELECT id FROM events LIMIT 1", [])) and age > 3 * instance.config.retention.every:
        text = "nothing that is over has been deleted for long" if age < 1e9 else "nothing was ever deleted"
        found.append(
            Finding("database", "purge", Level.WARNING, text, "a running server does it; petitbleu purge tells")
        )
    checks = [check for check in await instance.horizon.checks() if check.warning]
    return [*found, *(Finding("database", one.name, Level.WARNING, one.text, "end it") for one in checks)]


async def _templates(instance: Instance) -> list[Finding]:
    states = await instance.templates.list(instance.drafts)
    sent = {one.event_type for one in states if one.version is not None}
    found = [Finding("templates", "published", Level.OK, f"for {len(sent)} event types")]
    for name in instance.config.event_types:
        if name not in sent:
            drafts = [f"{one.event_type}/{one.channel}" for one in states if one.event_type == name]
            todo = " or ".join(f"petitbleu templates publish {draft}" for draft in drafts)
            write = f"write one, in {instance.config.template_directory() / name}; docs/templates.md tells how"
            found.append(Finding("templates", name, Level.WARNING, "no template is published", todo or write))
    for one in states:
        if one.problem:
            name = f"{one.event_type}/{one.channel}"
            text = f"the draft is broken: {' '.join(one.problem.split())}"
            found.append(Finding("templates", name, Level.WARNING, text, "mend it; what is published goes on as it is"))
    return found


# ---------------------------------------------------------------------------------------------- providers and domains


async def _providers(planned: Plan) -> list[Finding]:
    checks = await planned.calls.check_providers(planned.config.delivery.deadline)
    found = [
        Finding(
            "providers",
            f"{plugin}/{check.name}",
            Level.WARNING if check.ok and check.warning else Level.OK if check.ok else Level.PROBLEM,
            check.text,
            "" if check.ok else "is it running, reachable from here, and are name and password right?",
        )
        for plugin, some in checks.items()
        for check in some
    ]
    silent = [one for one in planned.channels if not any(one in planned.calls.channels_of(name) for name in checks)]
    if silent:
        found.append(Finding("providers", ", ".join(silent), Level.OK, "these channels offer no check"))
    return found


async def _dns(planned: Plan, senders: Iterable[str], ask: LookUp) -> list[Finding]:
    found: list[Finding] = []
    for domain in sorted({one.rpartition("@")[2].rstrip("> ").lower() for one in senders}):
        found += await look_up(domain, planned.config.monitoring.dkim.get(domain, ()), ask)
    return found or [Finding("dns", "senders", Level.OK, "no brand and no published template has a sender")]


async def _senders(instance: Instance) -> list[str]:
    """Of published templates, where they are no templates themselves."""
    senders: list[str] = []
    for state in await instance.templates.list(instance.drafts):
        if state.version is None:
            continue
        snapshot = await instance.templates.show(state.event_type, state.channel, state.version)
        for value in snapshot.fields.get("sender", {}).values():
            address = value.get("address") if isinstance(value, Mapping) else value
            if isinstance(address, str) and "@" in address and "{" not in address:
                senders.append(address)
    return senders


# ---------------------------------------------------------------------------------------------------------- the machine


async def _clock(instance: Instance) -> list[Finding]:
    if instance.store.dialect == "sqlite":
        return [Finding("clock", "database", Level.OK, "is this machine's own; let NTP set it")]
    before = time.time()
    theirs = int((await instance.store.rows("now"))[0]["now"]) / 1e6
    off = theirs - (before + time.time()) / 2
    if abs(off) <= SKEW:
        return [Finding("clock", "database", Level.OK, f"within {SKEW:g} s of this machine's")]
    text = f"is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    todo = "let NTP set both; messages go by the database's, logs and TLS certificates by this machine's"
    return [Finding("clock", "database", Level.WARNING, text, todo)]


def _disk(planned: Plan) -> list[Finding]:
    url = planned.config.database_url()
    folders = {"configuration": planned.config.directory}
    if url.startswith("sqlite://"):
        folders["database"] = Path(url.removeprefix("sqlite://").partition("?")[0]).parent
    found = []
    for name, folder in folders.items():
        there = next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))
        space = shutil.disk_usage(there)
        text = f"{space.free / GIB:.1f} GiB free, {100 * space.free / space.total:.0f} %, for {folder}"
        level = Level.PROBLEM if space.free < GIB / 4 else Level.WARNING if space.free < GIB else Level.OK
        todo = "" if level is Level.OK else "make room: when it is full, no event is taken any more"
        found.append(Finding("disk", name, level, text, todo))
    return found


def _versions(planned: Plan) -> list[Finding]:
    from .. import __version__

    own = f"petitbleu {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    level = Level.OK if (3, 11) <= sys.version_info < (3, 14) else Level.WARNING
    todo = "" if level is Level.OK else "use Python 3.11, 3.12 or 3.13, which it is tested with"
    found = [Finding("versions", "petitbleu", level, own, todo)]
    others = {f"{one.distribution} {one.version}" for one in planned.loaded.plugins} - {f"petitbleu {__version__}"}
    if others:
        found.append(Finding("versions", "plugins", Level.OK, ", ".join(sorted(others))))
    for package in ("aiohttp", "asyncpg", "tortoise-orm", "spyne", "cryptography"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            text, todo = f"{package} is not installed", "install petitbleu again"
            found.append(Finding("versions", package, Level.PROBLEM, text, todo))
    return found


INSIDE: Mapping[str, Look] = {"database": _database, "templates": _templates, "clock": _clock}
"""What is asked of an open installation."""

__all__ = ["AREAS", "checkup"]
