"""A plugin with a channel of its own that hangs: in one hook, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from petitbleu import Attempt, Channel, Delivered, Event, Message, Outcome, Part, Settings, hookimpl


class HangsSettings(Settings):
    """`hook` is where: in deliver before or after it has asked for a provider, in check_message for its own messages,
    or in outcome_recorded for everybody's."""

    hook: Literal["deliver", "admitted", "check_message", "outcome_recorded"]


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return HangsSettings


@hookimpl
def petitbleu_channels() -> Sequence[Channel]:
    return [Channel("hang", address="mobilePhone", fields=Settings, parts=(Part("text", "body.txt.j2"),))]


@hookimpl
async def petitbleu_check_message(message: Message, settings: HangsSettings) -> None:
    if settings.hook == "check_message" and message.channel == "hang":
        await asyncio.Event().wait()


@hookimpl
async def petitbleu_deliver(message: Message, attempt: Attempt, settings: HangsSettings) -> Outcome:
    if settings.hook == "deliver":
        await asyncio.Event().wait()
    await attempt.admit("wall", "")
    await attempt.hand_off("wall")
    if settings.hook == "admitted":
        await asyncio.Event().wait()
    return Delivered("wall", "taken")


@hookimpl
async def petitbleu_outcome_recorded(event: Event, settings: HangsSettings) -> None:
    if settings.hook == "outcome_recorded":
        await asyncio.Event().wait()
