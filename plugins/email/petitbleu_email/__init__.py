"""SMTP email, a channel plugin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from jinja2.sandbox import SandboxedEnvironment
from petitbleu import (
    Attempt,
    Catcher,
    Channel,
    Check,
    Event,
    Message,
    Outcome,
    Part,
    Reject,
    Services,
    Settings,
    hookimpl,
)

from .catcher import CATCHER
from .checks import CHANNEL, check_format
from .compose import cid
from .embedding import embed
from .fields import EmailFields
from .probing import probe_all
from .running import Running, running
from .settings import EmailSettings


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return EmailSettings


@hookimpl
def petitbleu_channels(settings: EmailSettings | None) -> Sequence[Channel]:
    parts = (Part("html", "body.html.j2", escape="html"), Part("text", "body.txt.j2"))
    providers = () if settings is None else tuple(settings.providers)
    return [
        Channel(
            CHANNEL,
            address="email",
            fields=EmailFields,
            aliases=("0", "mail"),
            parts=parts,
            providers=providers,
            embed=embed,
        )
    ]


@hookimpl
def petitbleu_lifespan(settings: EmailSettings, services: Services) -> AbstractAsyncContextManager[object]:
    return running(settings, services)


@hookimpl
def petitbleu_catchers() -> Sequence[Catcher]:
    return [CATCHER]


@hookimpl
def petitbleu_prepare_environment(environment: SandboxedEnvironment, channel: str) -> None:
    if channel == CHANNEL:
        environment.filters["cid"] = cid


@hookimpl
async def petitbleu_check_event(event: Event) -> Reject | None:
    return check_format(event)


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, state: Running) -> Outcome:
    return await state.mailer.deliver(message, attempt)


@hookimpl
async def petitbleu_health(settings: EmailSettings, state: Running) -> Sequence[Check]:
    return state.checks(settings.failure_memory)


@hookimpl
async def petitbleu_check_providers(settings: EmailSettings) -> Sequence[Check]:
    return await probe_all(settings)
