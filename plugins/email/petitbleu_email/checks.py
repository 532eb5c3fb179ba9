"""What is said about events before they are stored."""

from __future__ import annotations

from petitbleu import Event, Reject

from .compose import email_format

CHANNEL = "email"


def check_format(event: Event) -> Reject | None:
    if email_format(event.data) is not None:
        return None
    known = "0 (as the template), 1 or text, 2 or html, 3 or multipart"
    return Reject("emailFormat", f"{str(event.data['emailFormat'])[:32]!r} is not a format; formats are {known}")
