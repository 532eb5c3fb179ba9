"""Safe mode, for installations that must not write to customers: what is allowed goes out, the rest goes to one address
of the channel, or nowhere.

It is asked inside the one call by which any channel's plugin is given a message, proofs too; no plugin is before it or
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from .channels import EMAIL
from .errors import PetitbleuError
from .suppression import address_key
from .types import Attempt, Content, Delivered, Message

SINK = "sink"
"""What stands for the provider where nothing leaves."""
TITLES = ("subject", "title")
"""Fields that have the title of a message."""


class Withheld(PetitbleuError):
    """This message may not go out. The text is for the event's record, without the address."""


@dataclass(frozen=True, slots=True)
class SafeMode:
    """`allow` are patterns of addresses, `catch_all` has an address for each channel, `kinds` what each channel's
    addresses are. With `sink` nothing leaves. `prefix` stands before a subject or title."""

    allow: tuple[str, ...]
    catch_all: Mapping[str, str]
    sink: bool
    prefix: str
    kinds: Mapping[str, str]

    def banner(self) -> str:
        """In capitals, since it is to be seen; without addresses, since it is logged."""
        if self.sink:
            return "SAFE MODE: nothing is sent; every message ends in the sink (safe_mode.sink)"
        allowed = "only addresses that fit safe_mode.allow are" if self.allow else "nobody is"
        caught = ", ".join(sorted(self.kinds.keys() & self.catch_all.keys()))
        others = f"to a catch-all address by {caught}, and nowhere by other channels" if caught else "nowhere"
        return f"SAFE MODE: {allowed} written to; messages to others go {others}"

    def made_safe(self, message: Message) -> Message:
        """The message as it may go out. Raises `Withheld`."""
        kind = self.kinds.get(message.channel, "")
        address = message.address
        if not self._allowed(kind, address):
            caught = self.catch_all.get(message.channel, "")
            if not caught:
                raise Withheld(
                    f"safe mode: the recipient is not in safe_mode.allow, and {message.channel} has no catch_all"
                )
            address = caught
        # a plugin may look at the event's addresses in place of the message's
        event = replace(message.event, addresses={kind: address})
        changed = replace(message, event=event, address=address, content=self._titled(message.content))
        return changed if address == message.address else replace(changed, instead_of=message.address)

    def _allowed(self, kind: str, address: str) -> bool:
        written = address_key(kind, address) if kind == EMAIL else address
        return any(fnmatchcase(written, one.lower() if kind == EMAIL else one) for one in self.allow)

    def _titled(self, content: Content) -> Content:
        named = next((name for name in TITLES if isinstance(content.fields.get(name), str)), None)
        if named is None or not self.prefix:
            return content
        fields: dict[str, Any] = {**content.fields, named: self.prefix + content.fields[named]}
        return replace(content, fields=fields)

    async def swallow(self, message: Message, attempt: Attempt) -> Delivered:
        """What a provider would have said."""
        await attempt.hand_off(SINK)
        return Delivered(SINK, f"safe mode: nothing was sent by {message.channel} (safe_mode.sink)")


__all__ = ["SINK", "TITLES", "SafeMode", "Withheld"]
