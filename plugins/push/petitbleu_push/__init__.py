"""Push notifications, a channel plugin: APNs, FCM and web push."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from petitbleu import Attempt, Catcher, Channel, Check, Event, Message, Outcome, Reject, Services, Settings, hookimpl

from .catcher import catcher
from .fields import size_lines
from .sender import FIELDS, Sender, open_sender, provider_names
from .settings import ALIASES, PushSettings


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return PushSettings


@hookimpl
def petitbleu_channels(settings: PushSettings | None) -> Sequence[Channel]:
    return [
        Channel(
            name,
            address="registrationToken",
            fields=fields,
            aliases=ALIASES[name],
            providers=() if settings is None else provider_names(settings, name),
            preview=partial(size_lines, fields),
        )
        for name, fields in FIELDS.items()
    ]


@hookimpl
def petitbleu_catchers(settings: PushSettings) -> Sequence[Catcher]:
    return [catcher(settings)]


@hookimpl
def petitbleu_lifespan(settings: PushSettings, services: Services) -> AbstractAsyncContextManager[object]:
    return open_sender(settings, services)


@hookimpl
async def petitbleu_check_event(event: Event, state: Sender) -> Reject | None:
    return state.check_event(event)


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, state: Sender) -> Outcome:
    return await state.deliver(message, attempt)


@hookimpl
async def petitbleu_health(state: Sender) -> Sequence[Check]:
    return state.checks()
