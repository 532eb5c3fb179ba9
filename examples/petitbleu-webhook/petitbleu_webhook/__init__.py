"""Signed webhooks, a channel plugin: messages for other systems rather than for people."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from petitbleu import Attempt, Channel, Check, Message, Outcome, Part, Services, Settings, hookimpl

from .messages import WebhookFields, preview
from .sender import Sender, open_sender
from .settings import WebhookSettings


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return WebhookSettings


@hookimpl
def petitbleu_channels(settings: WebhookSettings) -> Sequence[Channel]:
    return [
        Channel(
            "webhook",
            address="webhookUrl",
            address_check=settings.address,
            fields=WebhookFields,
            parts=(Part("data", "body.json.j2"),),
            providers=tuple(settings.receivers),
            preview=preview,
        )
    ]


@hookimpl
def petitbleu_lifespan(settings: WebhookSettings, services: Services) -> AbstractAsyncContextManager[object]:
    return open_sender(settings, services)


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, state: Sender) -> Outcome:
    return await state.deliver(message, attempt)


@hookimpl
async def petitbleu_health(state: Sender) -> Sequence[Check]:
    return state.checks()
