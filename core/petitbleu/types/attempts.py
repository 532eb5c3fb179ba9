"""A hand-over to a provider, what came of it, and what is heard of it later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from .basics import Scope


class Pick(Protocol):
    """The type of `Attempt.pick`."""

    def __call__(self, candidates: Sequence[str], /) -> str: ...


def first_of(candidates: Sequence[str], /) -> str:
    """An `Attempt.pick` for tests of plugins."""
    return candidates[0]


class Admit(Protocol):
    """The type of `Attempt.admit`."""

    def __call__(self, provider: str, destination: str, at_once: int = 0, /) -> Awaitable[None]: ...


def unheard(names: Sequence[str], /) -> None:
    """An `Attempt.expect` for tests of plugins."""


async def unlimited(provider: str, destination: str, at_once: int = 0, /) -> None:
    """An `Attempt.admit` that nothing stands against, for tests of plugins."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hand-over of a message to a provider, as the channel's plugin sees it."""

    number: int
    """From 1, over the whole life of the event."""
    hand_off: Callable[[str], Awaitable[None]]
    """Await with the provider's name right before the point of no return (final dot, `submit_sm`, POST).
    Raises `HandOffRefused` when the message must not go out any more: give the connection back and let it through."""
    admit: Admit = unlimited
    """Await with the provider's name and the destination behind it (a domain, a network, "" where there is none) before
    a connection is used, and with how many messages this process can give it at once, if that is limited.
    Raises `NotNow` when the provider is given nothing more at the moment: let it through."""
    pick: Pick = first_of
    """Which of the providers that would do is to be used: as the settings order or weigh them (the given order, where
    they say nothing), without those that this message has failed with and, while others are there, those that are
    paused or slow. To be called once; a failure whose scope is the provider then brings the next one at once."""
    expect: Callable[[Sequence[str]], None] = unheard
    """Call before `hand_off` with what receipts will call the message should its answer get lost, where that is known:
    so they find it even if this process dies meanwhile."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took the message; `text` is what it said."""

    provider: str
    text: str
    code: str = ""
    reference: str = ""
    """The provider's own id of the message."""
    awaits: tuple[str, ...] = ()
    """By what receipts will name it, one name for each part of the message; empty: none will come by a name."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: try again. With scope `PROVIDER` or `US` the try is not counted against the event."""

    provider: str
    text: str
    scope: Scope
    code: str = ""
    retry_after: float | None = None
    """Seconds the provider asked to wait."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Never: the provider refused for good."""

    provider: str
    text: str
    scope: Scope
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Handed off, and no answer came: the provider may have it or not."""

    provider: str
    text: str
    awaits: tuple[str, ...] = ()
    """By what receipts will name those parts of it that the provider may have; see `Delivered`."""


class ReceiptState(StrEnum):
    """What a receipt says, from the weakest to the strongest. A message never goes back to a weaker one; of several
    parts the worst counts."""

    UNDERWAY = "underway"
    """The provider still has it; nothing is decided."""
    RECEIVED = "received"
    BOUNCED = "bounced"
    """It will not arrive."""
    COMPLAINED = "complained"
    """It arrived, and whoever got it calls it unwanted."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider, or the recipient's side, says of a message after it was handed over.

    It is matched by `event` and `attempt` where the plugin knows them (and can trust them), else by any of `names`
    among those that attempts of `channel` with `provider` await. One that comes before its attempt is recorded is kept
    and matched then.
    """

    channel: str
    provider: str
    state: ReceiptState
    text: str
    names: tuple[str, ...] = ()
    event: int | None = None
    attempt: int | None = None
    code: str = ""
    scope: Scope = Scope.MESSAGE
    """Whose fault a bounce is: with `ADDRESS` it may suppress the address."""
    permanent: bool = True
    """A bounce that will come again with the next message, or one that may not (a full mailbox)."""
    at: datetime | None = None
    """When it happened, by the provider's clock."""


Outcome: TypeAlias = Delivered | Deferred | Failed | Unknown
