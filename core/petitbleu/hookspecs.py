"""Every hook, in the order an event meets them.

A plugin implements what it needs, in its `__init__.py`, with `@petitbleu.hookimpl`. An implementation names only the
arguments it wants. Two arguments belong to the plugin itself: `settings` is its section of the configuration, as the
type that `petitbleu_settings_type` gave; `state` is what its `petitbleu_lifespan` yielded (`None` without one).

There are four modes. *Collect*: sync, at start, every plugin in configuration order; a failure stops the start.
*Ask*: async, in configuration order, stops at the first answer that is not None; the core's own answer comes last.
*Address*: async, only the plugin that owns the channel. *Notify*: async, every plugin, after the commit; failures are
logged and counted, and the next one still runs. Async implementations run one at a time under the plugin's deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pluggy

from .compatibility import Former

if TYPE_CHECKING:
    from aiohttp import web
    from jinja2.sandbox import SandboxedEnvironment

    from .commands import Command
    from .services import Accept, OpenServices, Services
    from .types import (
        Attempt,
        Catcher,
        Channel,
        Check,
        Content,
        Event,
        Hold,
        Message,
        Notice,
        NotTold,
        Outcome,
        Receipt,
        Recycle,
        Reject,
        Route,
        Settings,
        Subscription,
        Suppress,
        TemplateRef,
        Told,
    )

hookspec = pluggy.HookspecMarker("petitbleu")
hookimpl = pluggy.HookimplMarker("petitbleu")

FORMER_HOOKS: Mapping[str, Former] = {}
"""By its old name, a hook that was renamed."""
FORMER_ARGUMENTS: Mapping[str, Mapping[str, Former]] = {}
"""By hook and old name, an argument that was renamed or is going away."""

# ---------------------------------------------------------------------------------------------- at start: collect


@hookspec
def petitbleu_settings_type() -> type[Settings]:
    """The type of the plugin's section of the configuration.

    Asked before anything else. Without it the section must be empty. Since 0.1.
    """
    raise AssertionError  # a specification is never run


@hookspec
def petitbleu_channels(settings: Any) -> Sequence[Channel]:
    """The channels this plugin delivers. Two plugins claiming one name or alias stop the start. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_intake_routes(settings: Any, accept: Accept, services: Services) -> Sequence[web.RouteDef]:
    """HTTP routes by which events come in; `accept` is the only door. Only on servers that take events. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_routes(settings: Any, services: Services) -> Sequence[web.RouteDef]:
    """Other HTTP routes: pages, health, descriptions. Two claims on one method and path stop the start. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_commands(settings: Any, services: OpenServices) -> Sequence[Command]:
    """Subcommands of `petitbleu`. `services`, given what a command's `run` is given, opens the installation for as long
    as it is needed. A name that is taken stops the start. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_catchers(settings: Any) -> Sequence[Catcher]:
    """Stand-ins for the plugin's providers, for `petitbleu demo`; asked by nothing else. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_lifespan(settings: Any, services: Services, accept: Accept | None) -> AbstractAsyncContextManager[object]:
    """Open pools and clients; what the context manager yields is this plugin's `state`.

    `accept` is the door for events that no request brings, such as those of a message broker; None on servers that
    take none. It raises `Unavailable` once the server stops. Entered at start in configuration order, left in reverse
    after the last message. An error on entering stops the start; one on leaving is logged. Since 0.1.
    """
    raise AssertionError


@hookspec
def petitbleu_subscriptions(settings: Any) -> Sequence[Subscription]:
    """What the plugin wants to be told of events by `petitbleu_tell`. A name given twice stops the start. Since 0.1."""
    raise AssertionError


@hookspec
def petitbleu_prepare_environment(environment: SandboxedEnvironment, channel: str) -> None:
    """Add filters and tests to the Jinja2 environment of one channel. Functions must be pure and fast. Since 0.1."""
    raise AssertionError


# ------------------------------------------------------------------------------------------------- at the door: ask


@hookspec
async def petitbleu_check_event(event: Event, settings: Any, state: Any) -> Reject | None:
    """Refuse an event before it is stored; its `id` is still 0.

    None: no objection. A failure or time-out refuses the whole call as temporary. Since 0.1.
    """
    raise AssertionError


# ------------------------------------------------------------------------------------ from claim to outcome: ask


@hookspec
async def petitbleu_enrich_event(event: Event, settings: Any, state: Any) -> Event | None:
    """The event with data added, for routing and templates; what is stored stays as the caller sent it.

    None: nothing to add. A failure or time-out defers the event (scope us). Since 0.1.
    """
    raise AssertionError


@hookspec
async def petitbleu_route_event(event: Event, settings: Any, state: Any) -> Route | None:
    """Channel, brand and template of an event.

    None: the next one decides, at last the `routing` rules of the configuration. A failure defers. Since 0.1.
    """
    raise AssertionError


@hookspec
async def petitbleu_resolve_template(event: Event, route: Route, settings: Any, state: Any) -> TemplateRef | None:
    """The template version to use.

    None: the next one decides, at last the latest published version in the best language. None from all: the event
    ends *not covered*. A failure defers. Since 0.1.
    """
    raise AssertionError


@hookspec
async def petitbleu_render(
    template: TemplateRef, event: Event, brand: Mapping[str, Any], settings: Any, state: Any
) -> Content | None:
    """The content of the message.

    None: the next one renders, at last Jinja2. `TemplateError` fails the event (scope message), any other failure
    defers it. Since 0.1.
    """
    raise AssertionError


@hookspec
async def petitbleu_check_message(message: Message, settings: Any, state: Any) -> Suppress | Hold | None:
    """Stop a rendered message, or hold it until later.

    None: no objection. A failure defers: a check that cannot be made is not passed. Since 0.1.
    """
    raise AssertionError


# ----------------------------------------------------------------------------------------------- delivery: address


@hookspec
async def petitbleu_deliver(message: Message, attempt: Attempt, settings: Any, state: Any) -> Outcome:
    """Hand one message to a provider and say how it ended.

    Await `attempt.admit(provider, destination)` before a connection is used, and `attempt.hand_off(provider)` right
    before the point of no return. A failure or time-out before it defers the
    event (scope us, the try counts); after it the outcome is *unknown*. Since 0.1.
    """
    raise AssertionError


@hookspec
async def petitbleu_tell(notice: Notice, settings: Any, state: Any) -> Told | NotTold:
    """Tell one notice of a subscription of this plugin's to its receiver.

    Notices were written down in the transaction that stored what they tell of; each is told at least once, in no
    certain order. A failure or time-out counts as `NotTold`. Since 0.1.
    """
    raise AssertionError


# ------------------------------------------------------------------------------------------- after a failure: ask


@hookspec
async def petitbleu_recycle_event(
    event: Event, channel: str, failure: str, reason: str, settings: Any, state: Any
) -> Recycle | None:
    """Another channel for an event that did not get through by `channel`.

    `failure` is `failed`, `expired`, `unknown` (handed over, and nobody knows), `bounced` (a receipt says so) or
    `no_receipt` (none came in time). None: the next one decides, at last the `recycling` rules of the configuration;
    None from all: it stays so. A failure of the hook counts as None and is logged. Since 0.1.
    """
    raise AssertionError


# -------------------------------------------------------------------------------------------- after commit: notify


@hookspec
async def petitbleu_event_accepted(event: Event, settings: Any, state: Any) -> None:
    """An event is stored; its caller has its id or is about to. Since 0.1."""
    raise AssertionError


@hookspec
async def petitbleu_outcome_recorded(
    event: Event, status: str, outcome: Outcome | None, reason: str, settings: Any, state: Any
) -> None:
    """A step of an event is stored: its status now, the provider's outcome if any, and the reason. Since 0.1."""
    raise AssertionError


@hookspec
async def petitbleu_receipt_recorded(event: Event, receipt: Receipt, settings: Any, state: Any) -> None:
    """A receipt that told something new about an event is stored. Since 0.1."""
    raise AssertionError


@hookspec
async def petitbleu_health(settings: Any, state: Any) -> Sequence[Check]:
    """What `/readyz` should know. A failure or time-out counts as one failed check. Since 0.1."""
    raise AssertionError


@hookspec
async def petitbleu_check_providers(settings: Any) -> Sequence[Check]:
    """Try to log in to each provider, for `petitbleu doctor`, and hand it nothing; one check each, by its name.

    Called without a lifespan. A failure or time-out counts as one failed check. Since 0.1.
    """
    raise AssertionError
