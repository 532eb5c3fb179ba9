"""What is said about messages before they are sent."""

from __future__ import annotations

from fnmatch import fnmatchcase

from petitbleu import Message, Suppress

from .compose import CHANNEL, MessageRefused, check_length, encoded, written_text
from .settings import SmsSettings


def check_message(message: Message, settings: SmsSettings) -> Suppress | None:
    if message.channel != CHANNEL:
        return None
    if settings.only_to is not None and not any(fnmatchcase(message.address, one) for one in settings.only_to):
        return Suppress("the recipient matches no pattern of plugins.sms.only_to")
    try:
        check_length(encoded(written_text(message.content), message.content, settings), settings)
    except MessageRefused as refused:
        return Suppress(str(refused))
    return None
