"""Copies of messages as they were handed over, for event types whose operators may look at them for a while.

What masking hides is taken out of a copy first, wherever it stands in it as it is, as HTML, JSON or a part of an URL.
Then it is packed, and sealed where events are encrypted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import markupsafe
import orjson
import zstandard

from .masking import MASK, Masks
from .store import StoreError
from .store.vault import Vault
from .types import Message

logger = logging.getLogger("petitbleu.delivery")

SHORTEST = 4
"""Characters of what is looked for: shorter texts would be found in every word."""
MOST = 1 << 26
"""Bytes of an unpacked copy."""
_MAGIC = b"\x28\xb5\x2f\xfd"


class Copies:
    """`periods` is for how many microseconds copies are kept, by event type; of others there are none."""

    def __init__(self, periods: Mapping[str, int], masks: Masks, vault: Vault) -> None:
        self.types = frozenset(periods)
        self._periods = periods
        self._masks = masks
        self._vault = vault
        self._compressor = zstandard.ZstdCompressor(3)

    def copy(self, message: Message, at: int) -> tuple[bytes, int] | None:
        """A copy, and until when it is kept, of a message handed over `at` that time. None: it cannot be made, for
        which no outcome may be lost."""
        event = message.event
        try:
            return seal(self._vault, event.id, self._packed(message)), at + self._periods[event.type]
        except (TypeError, ValueError) as error:
            logger.warning("event %d: no copy of its message is kept: %s", event.id, error, extra={"event": event.id})
            return None

    def _packed(self, message: Message) -> bytes:
        event, content = message.event, message.content
        ref = message.template
        known = {
            "channel": message.channel,
            "address": message.address,
            "brand": message.brand,
            "template": f"{ref.event_type}/{ref.channel} v{ref.version}",
            "instead_of": message.instead_of,
            "parts": dict(content.parts),
            "fields": dict(content.fields),
            "files": {name: len(file) for name, file in content.files.items()},
        }
        hidden = self._masks.hidden(event.type, event.data)
        whole = _without(known, sorted(_spellings(hidden), key=len, reverse=True)) if hidden else known
        return self._compressor.compress(orjson.dumps(whole, default=str))


def seal(vault: Vault, event: int, packed: bytes) -> bytes:
    """As it is stored: under a number that is no event's, since the event's payload is sealed under its own."""
    return vault.seal_bytes(-event, packed)


def unsealed(vault: Vault, event: int, body: bytes) -> bytes:
    """Raises `StoreError`."""
    return vault.open_bytes(body, f"a message of event {event}", -event)


def text_of(vault: Vault, event: int, body: bytes) -> str:
    """A stored copy as JSON. Raises `StoreError`."""
    packed = unsealed(vault, event, body)
    if not packed.startswith(_MAGIC):
        return packed.decode("utf-8", "replace")
    try:
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MOST).decode()
    except (zstandard.ZstdError, ValueError) as error:
        raise StoreError(f"a message of event {event} is damaged: {error}") from error


def _spellings(texts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        if len(text) >= SHORTEST:
            found |= {text, escape(text), escape(text, quote=False), str(markupsafe.escape(text))}
            found |= {
                quote(text),
                quote(text, safe=""),
                json.dumps(text)[1:-1],
                json.dumps(text, ensure_ascii=False)[1:-1],
            }
    return found


def _without(value: Any, hidden: Iterable[str]) -> Any:
    if isinstance(value, str):
        for text in hidden:
            value = value.replace(text, MASK)
        return value
    if isinstance(value, Mapping):
        return {name: _without(item, hidden) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, hidden) for item in value]
    return value


__all__ = ["Copies", "seal", "text_of", "unsealed"]
