"""The channels callers may wish for: those that plugins serve, and those that only have a number so far.

Message Center numbers its channels, and callers send numbers. An event for a channel that nobody here serves is
taken and ends *not covered*, as it does for a type without a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .types import Channel

EMAIL = "email"
MOBILE_PHONE = "mobilePhone"
REGISTRATION_TOKEN = "registrationToken"  # noqa: S105 - the name of an attribute


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
    """Without a wish: email where there is an email address, else SMS where there is a phone number."""
    if EMAIL in addresses:
        return known["email"]
    if MOBILE_PHONE in addresses:
        return known["sms"]
    return None
