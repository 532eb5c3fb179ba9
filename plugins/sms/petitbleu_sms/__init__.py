"""SMS by SMPP 3.4 and by HTTP gateways, a channel plugin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from aiohttp import web
from petitbleu import (
    Attempt,
    Catcher,
    Channel,
    Check,
    Message,
    Outcome,
    Part,
    Services,
    Settings,
    Suppress,
    hookimpl,
)

from .catcher import catcher
from .checks import check_message
from .compose import CHANNEL, preview
from .fields import SmsFields
from .probing import probe_all
from .service import Messenger, open_messenger
from .settings import SmsSettings
from .webhook import routes


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return SmsSettings


@hookimpl
def petitbleu_channels(settings: SmsSettings | None) -> Sequence[Channel]:
    return [
        Channel(
            CHANNEL,
            address="mobilePhone",
            fields=SmsFields,
            aliases=("1", "mobile"),
            parts=(Part("text", "body.txt.j2"),),
            unknown="hold",
            providers=() if settings is None else settings.providers,
            preview=None if settings is None else partial(preview, settings=settings),
        )
    ]


@hookimpl
def petitbleu_catchers(settings: SmsSettings) -> Sequence[Catcher]:
    return [catcher(settings)]


@hookimpl
def petitbleu_routes(settings: SmsSettings, services: Services) -> Sequence[web.RouteDef]:
    return routes(settings, services)


@hookimpl
def petitbleu_lifespan(settings: SmsSettings, services: Services) -> AbstractAsyncContextManager[object]:
    return open_messenger(settings, services)


@hookimpl
async def petitbleu_check_message(message: Message, settings: SmsSettings) -> Suppress | None:
    return check_message(message, settings)


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, state: Messenger) -> Outcome:
    return await state.deliver(message, attempt)


@hookimpl
async def petitbleu_health(state: Messenger) -> Sequence[Check]:
    return state.checks()


@hookimpl
async def petitbleu_check_providers(settings: SmsSettings) -> Sequence[Check]:
    return await probe_all(settings)
