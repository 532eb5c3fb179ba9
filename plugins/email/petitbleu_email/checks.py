"""What is said about events and messages before they are sent."""

from __future__ import annotations

from fnmatch import fnmatchcase

from petitbleu import Event, Message, Reject, Suppress

from .compose import email_format
from .settings import EmailSettings

CHANNEL = "email"


def check_format(event: Event) -> Reject | None:
    if email_format(event.data) is not None:
        return None
    known = "0 (as the template), 1 or text, 2 or html, 3 or multipart"
    return Reject("emailFormat", f"{str(event.data['emailFormat'])[:32]!r} is not a format; formats are {known}")


def check_recipient(message: Message, settings: EmailSettings) -> Suppress | None:
    if settings.only_to is None or message.channel != CHANNEL:
        return None
    address = message.address.lower()
    if any(fnmatchcase(address, pattern.lower()) for pattern in settings.only_to):
        return None
    return Suppress("the recipient matches no pattern of plugins.email.only_to")
