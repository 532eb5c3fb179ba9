"""An event as operators find it, and whether something can be done to it: by what is stored, in words for them.

Times are in microseconds; `lifetime` is what an event gets whose expiration has passed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..lifecycle import FINAL, PENDING, TRANSITIONS
from ..queue.rows import HELD, LEASED
from ..store.payload import micros, moment, optional_micros
from ..types import Event


@dataclass(frozen=True, slots=True)
class Found:
    """An event as it is stored; `state` and what follows are null without a row in the queue."""

    id: int
    type: str
    status: str
    channel: str
    state: int | None
    due: int | None
    expires: int | None
    handed_off: str
    event: Event | None


Verdict = tuple[bool, str]
"""Whether it can be done, and in which words."""


def cancel(found: Found) -> Verdict:
    if found.status in FINAL:
        return False, f"is {found.status} already"
    if found.state == LEASED:
        return False, "is being sent"
    if found.handed_off:
        return False, f"may be with {found.handed_off} already; its worker stopped before the answer came"
    return True, "is cancelled"


def hold(found: Found) -> Verdict:
    if found.status in FINAL:
        return False, f"is {found.status} already"
    if found.state == LEASED:
        return False, "is being sent"
    if found.state == HELD:
        return False, "is paused already"
    return True, "is held"


def retry(found: Found, now: int, lifetime: int) -> Verdict:
    if found.event is None:
        return False, "what the caller sent is not kept any more, or cannot be read"
    if found.status in FINAL:
        if PENDING not in TRANSITIONS[found.status]:
            return False, f"is {found.status}; resend makes a new event of it"
        scheduled = optional_micros(found.event.scheduled) or 0
        when = f"at {_time(scheduled)}, as scheduled" if scheduled > now else "now"
        return True, f"was {found.status}, is tried {when}" + prolonged(
            optional_micros(found.event.expiration), now, lifetime
        )
    if found.state == LEASED:
        return False, "is being sent"
    if found.state == HELD:
        return False, "is paused; release it"
    if found.due is None or found.due <= now:
        return False, "is due already"
    if found.event.scheduled is not None and micros(found.event.scheduled) > now:
        return False, f"is scheduled for {_time(micros(found.event.scheduled))}, and nothing is sent before"
    if found.handed_off:
        return False, f"may be with {found.handed_off} already; its receipt is awaited until {_time(found.due)}"
    return True, f"is tried now rather than at {_time(found.due)}" + prolonged(found.expires, now, lifetime)


def release(found: Found, now: int) -> Verdict:
    if found.state != HELD:
        status = found.status if found.state != LEASED else "being sent"
        return False, f"is {status}, not paused"
    if found.expires is not None and found.expires <= now:
        return True, f"is released, and ends expired, since {_time(found.expires)}; retry gives it more time"
    if found.due is not None and found.due > now:
        return True, f"is released, and sent at {_time(found.due)}"
    return True, "is released"


def resend(found: Found, now: int, lifetime: int) -> Verdict:
    if found.event is None:
        return False, "what the caller sent is not kept any more, or cannot be read"
    return True, "is sent again as a new event" + prolonged(optional_micros(found.event.expiration), now, lifetime)


def prolonged(expires: int | None, now: int, lifetime: int) -> str:
    """What becomes of an expiration that has passed."""
    if expires is None or expires > now:
        return ""
    return f"; its expiration passed at {_time(expires)}, it now has until {_time(now + lifetime)}"


def _time(value: int) -> str:
    return f"{moment(value):%Y-%m-%d %H:%M:%S} UTC"
