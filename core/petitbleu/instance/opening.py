"""How an installation is opened and closed: tables, keys, parts, lifespans of plugins."""

from __future__ import annotations

import argparse
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from ..encryption import check_keys
from ..hosting.standstill import Standstill
from ..services import Accept, Services
from ..store import Store, check_tables, is_empty, migrate, open_store
from ..store.epoch import guard
from ..store.vault import Vault
from .assembly import assemble
from .parts import Instance, Surroundings
from .planning import Plan, Source, plan

logger = logging.getLogger("petitbleu")


@asynccontextmanager
async def open_instance(
    source: Source,
    overrides: Sequence[str],
    *,
    plugins_running: bool = False,
    delivers: bool = False,
    takes: bool = False,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Instance]:
    """Open what the configuration describes; the tables of an empty database are made, others must be up to date.

    `plugins_running` enters the plugins' lifespans: needed to deliver. `delivers` tells them that this process does so
    for good, and with `takes` those that fetch events by themselves may bring them in.
    """
    around = surroundings or Surroundings()
    planned = plan(source, overrides, around.plugins)
    if planned.calls.safe_mode is not None:
        logger.warning("%s", planned.calls.safe_mode.banner())
    watchful = guard(hold=planned.config.delivery.hold_after_restore)
    async with open_store(planned.config.database_url(), shift=around.shift, guard=watchful) as store:
        await store.check_durability(planned.config.durability == "relaxed")
        await _prepare_tables(store)
        store.vault = Vault([(one.id, one.key.get_secret_value()) for one in planned.config.encryption.keys])
        await check_keys(store)
        instance = assemble(planned, store, around, delivers)
        await instance.templates.refresh()
        await instance.tally.learn(store)
        async with AsyncExitStack() as stack:
            if plugins_running:
                await _run_plugins(planned, instance, instance.gate if takes else None, stack)
            yield instance


async def _run_plugins(planned: Plan, instance: Instance, accept: Accept | None, stack: AsyncExitStack) -> None:
    """Until `stack` is left: in the order of the configuration, and back."""
    calls, loaded, monitoring = planned.calls, planned.loaded, planned.config.monitoring
    await stack.enter_async_context(Standstill(instance.owners, calls.conduct, monitoring.blocked).watched())
    stack.enter_context(instance.offspring.counted())
    lifespans = dict(calls.lifespans(instance.services, accept))
    for plugin in loaded.plugins:
        stack.push_async_callback(instance.offspring.end, plugin.name)
        if plugin.name in lifespans:
            lived = calls.lived(plugin.name, lifespans[plugin.name])
            loaded.states[plugin.name] = await stack.enter_async_context(lived)


@asynccontextmanager
async def open_services(arguments: argparse.Namespace) -> AsyncIterator[Services]:
    """What a plugin's command opens the installation with that its arguments name."""
    async with open_instance(arguments.config, arguments.set) as instance:
        yield instance.services


async def _prepare_tables(store: Store) -> None:
    # in this order: another process may make the tables at the same moment
    if await is_empty(store):
        await migrate(store)
    else:
        await check_tables(store)
