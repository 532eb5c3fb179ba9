"""What is said about messages before they are sent."""

from __future__ import annotations

from petitbleu import Message, Suppress

from .compose import CHANNEL, MessageRefused, check_length, encoded, written_text
from .settings import SmsSettings


def check_message(message: Message, settings: SmsSettings) -> Suppress | None:
    if message.channel != CHANNEL:
        return None
    try:
        check_length(encoded(written_text(message.content), message.content, settings), settings)
    except MessageRefused as refused:
        return Suppress(str(refused))
    return None
