"""From a rendered message to what any provider needs of it, and how many parts that makes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from petitbleu import Content, Message

from .settings import SmsSettings
from .text import SINGLE, Text, encode_text, split

CHANNEL = "sms"


class MessageRefused(ValueError):
    """This message cannot become an SMS, whatever provider is asked."""


class Sms(NamedTuple):
    """A finished message. `written` is the text as it is sent, `text` the same encoded; `sender` is "" where the
    template names none."""

    number: str
    sender: str
    brand: str
    written: str
    text: Text
    key: str
    seed: int
    """64 bits that are the same for every try of this message."""
    attempt: int
    expiration: datetime | None


def compose(message: Message, settings: SmsSettings, attempt: int) -> Sms:
    """Raises `MessageRefused`."""
    fields = message.content.fields
    written = written_text(message.content)
    text = encoded(written, message.content, settings)
    check_length(text, settings)
    seed = int.from_bytes(hashlib.blake2b(message.key.encode(), digest_size=8).digest(), "big")
    return Sms(
        number=message.address,
        sender=fields.get("sender") or "",
        brand=message.brand,
        written=written,
        text=text,
        key=message.key,
        seed=seed,
        attempt=attempt,
        expiration=message.event.expiration,
    )


def written_text(content: Content) -> str:
    """The text part, without the empty lines that template files begin and end with."""
    part = content.parts.get("text")
    if part is None:
        raise MessageRefused("its template has no body.txt.j2")
    written = part.strip("\r\n ").replace("\r\n", "\n")
    if not written:
        raise MessageRefused("its text is empty")
    return written


def encoded(written: str, content: Content, settings: SmsSettings) -> Text:
    try:
        return encode_text(written, content.fields.get("transliterate") or settings.transliterate)
    except UnicodeEncodeError:
        raise MessageRefused("its text holds half a character (a lone surrogate)") from None


def check_length(text: Text, settings: SmsSettings) -> None:
    if len(text.units) <= SINGLE:
        return
    count = len(split(text, "udh"))
    if count > settings.max_parts:
        raise MessageRefused(f"its text makes {count} parts; plugins.sms.max_parts allows {settings.max_parts}")


def preview(content: Content, settings: SmsSettings) -> Sequence[str]:
    """How the text would go out: for people who write templates."""
    try:
        written = written_text(content)
        text = encoded(written, content, settings)
    except MessageRefused as refused:
        return [f"refused: {refused}"]
    pieces = split(text, "udh")
    each, alphabet = (1, "GSM alphabet") if text.gsm else (2, "UCS-2")
    sizes = " + ".join(str(len(piece) // each) for piece in pieces)
    unit = "septets" if text.gsm else "characters"
    lines = [f"parts: {len(pieces)} ({alphabet}, {sizes} {unit})"]
    if not text.gsm:
        mode = content.fields.get("transliterate") or settings.transliterate
        foreign = sorted({char for char in written if not encode_text(char, mode).gsm})
        shown = " ".join(f"{char} (U+{ord(char):04X})" for char in foreign[:8])
        lines.append(f"UCS-2 because of: {shown}" + (" …" if len(foreign) > 8 else ""))
    try:
        check_length(text, settings)
    except MessageRefused as refused:
        lines.append(f"refused: {refused}")
    return lines
