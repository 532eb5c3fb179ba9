"""The channels callers may wish for: those that plugins serve, and those that only have a number so far.

Message Center numbers its channels, and callers send numbers. An event for a channel that nobody here serves is
taken and ends *not covered*, as it does for a type without a template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .types import Channel

EMAIL = "email"
MOBILE_PHONE = "mobilePhone"
REGISTRATION_TOKEN = "registrationToken"  # noqa: S105 - the name of an attribute
ADDRESSES = (EMAIL, MOBILE_PHONE, REGISTRATION_TOKEN)
"""Those the core checks itself."""

ATTRIBUTES = {
    name.lower(): name
    for name in (
        "type",
        *ADDRESSES,
        "wishedChannel",
        "emailFormat",
        "language",
        "country",
        "externalId",
        "origin",
        "scheduled",
        "expiration",
        "priority",
        "ctx",
        "mobileApp",
    )
} | {"registrationid": REGISTRATION_TOKEN, "devicetoken": REGISTRATION_TOKEN}
"""What the core knows of an event, by every spelling in lower case."""

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a `wishedChannel` stands for: a channel's name, and the event attribute that holds its address."""

    channel: str
    address: str


_STANDARD = {
    **dict.fromkeys(("email", "0"), Wish("email", EMAIL)),
    **dict.fromkeys(("sms", "mobile", "1"), Wish("sms", MOBILE_PHONE)),
    **dict.fromkeys(("ios", "41"), Wish("ios", REGISTRATION_TOKEN)),
    **dict.fromkeys(("android", "42"), Wish("android", REGISTRATION_TOKEN)),
}


def wishes(channels: Iterable[Channel]) -> dict[str, Wish]:
    """Every spelling of `wishedChannel`, in lower case."""
    known = dict(_STANDARD)
    for channel in channels:
        wish = Wish(channel.name, channel.address)
        for word in (channel.name, *channel.aliases):
            known[word.lower()] = wish
    return known


def default_wish(addresses: Mapping[str, str], known: Mapping[str, Wish]) -> Wish | None:
    """Without a wish: email where there is an email address, else SMS where there is a phone number, else the first
    channel whose own address there is. A registration token tells no channel: many have it."""
    if EMAIL in addresses:
        return known["email"]
    if MOBILE_PHONE in addresses:
        return known["sms"]
    own = addresses.keys() - {REGISTRATION_TOKEN}
    return next((wish for wish in known.values() if wish.address in own), None) if own else None


def address_problem(channel: Channel) -> str:
    """What is wrong with the address that a channel declares; empty: nothing."""
    name, where = channel.address, f"the channel {channel.name!r} has the address {channel.address!r}"
    if name in ADDRESSES:
        return "" if channel.address_check is None else f"{where} with a check of its own; the core has one for it"
    if not _ATTRIBUTE.fullmatch(name):
        return f"{where}, which is no name for an attribute: letters, digits, '_', '.' and '-', 64 at most"
    if name.lower() in ATTRIBUTES:
        return f"{where}, which events have for something else"
    if channel.address_check is None:
        return f"{where} without an address_check; only {', '.join(ADDRESSES)} need none"
    return ""
