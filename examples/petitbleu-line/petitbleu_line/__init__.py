"""LINE messages, a channel plugin: push messages by the Messaging API."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from petitbleu import Attempt, Channel, Check, Message, Outcome, Part, Settings, hookimpl

from .messages import LineFields, preview
from .sender import Sender, open_sender
from .settings import LineSettings, user_id


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return LineSettings


@hookimpl
def petitbleu_channels(settings: LineSettings) -> Sequence[Channel]:
    return [
        Channel(
            "line",
            address="lineUserId",
            address_check=user_id,
            fields=LineFields,
            parts=(Part("text", "body.txt.j2"), Part("flex", "flex.json.j2")),
            providers=tuple(settings.accounts),
            preview=preview,
        )
    ]


@hookimpl
def petitbleu_lifespan(settings: LineSettings) -> AbstractAsyncContextManager[object]:
    return open_sender(settings)


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, state: Sender) -> Outcome:
    return await state.deliver(message, attempt)


@hookimpl
async def petitbleu_health(state: Sender) -> Sequence[Check]:
    return state.checks()
