"""Signed webhooks: other systems hear of what becomes of events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from petitbleu import Command, Notice, NotTold, OpenServices, Services, Settings, Subscription, Told, hookimpl

from .commands import commands
from .sender import Sender, open_sender
from .settings import WebhookSettings, subscriptions


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return WebhookSettings


@hookimpl
def petitbleu_commands(settings: WebhookSettings, services: OpenServices) -> Sequence[Command]:
    return commands(settings, services)


@hookimpl
def petitbleu_lifespan(settings: WebhookSettings, services: Services) -> AbstractAsyncContextManager[object]:
    return open_sender(settings, services)


@hookimpl
def petitbleu_subscriptions(settings: WebhookSettings) -> Sequence[Subscription]:
    return subscriptions(settings)


@hookimpl
async def petitbleu_tell(notice: Notice, state: Sender) -> Told | NotTold:
    return await state.tell(notice)
