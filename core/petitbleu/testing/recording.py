"""A channel and an observer that write down what they are told, for tests of everything else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Literal

from ..hookspecs import hookimpl
from ..types import (
    Attempt,
    Channel,
    Delivered,
    Event,
    Message,
    Outcome,
    Part,
    Receipt,
    Retry,
    Settings,
)

HANG: Literal["hang"] = "hang"
"""An answer of a `RecordingChannel` that never comes."""


class RecordedFields(Settings):
    """What `template.yaml` may hold for a `RecordingChannel`."""

    subject: str = ""


class RecordingChannel:
    """A plugin with one channel, `record`, whose messages are kept in `messages`.

    Each message is answered with the next of `answers`: an outcome, an exception to raise, or `HANG`; when there are
    none left, it is delivered. `templates` for it have a `body.txt.j2`.
    """

    def __init__(
        self,
        name: str = "record",
        address: Literal["email", "mobilePhone", "registrationToken"] = "email",
        retry: Retry = Retry(),
        unknown: Literal["retry_once", "hold"] = "retry_once",
    ) -> None:
        self._channel = Channel(
            name, address, RecordedFields, parts=(Part("text", "body.txt.j2"),), retry=retry, unknown=unknown
        )
        self.messages: list[Message] = []
        self.answers: deque[Outcome | Exception | Literal["hang"]] = deque()

    @hookimpl
    def petitbleu_channels(self) -> Sequence[Channel]:
        return [self._channel]

    @hookimpl
    async def petitbleu_deliver(self, message: Message, attempt: Attempt) -> Outcome:
        await attempt.admit("recorder", "")
        await attempt.hand_off("recorder")
        self.messages.append(message)
        answer = self.answers.popleft() if self.answers else Delivered("recorder", "recorded")
        if answer == HANG:
            await asyncio.Event().wait()
            raise TimeoutError
        if isinstance(answer, Exception):
            raise answer
        return answer


class RecordingObserver:
    """A plugin that keeps what observers are told: the events accepted; status and reason of each outcome recorded, by
    the event's id; and the receipts."""

    def __init__(self) -> None:
        self.accepted: list[Event] = []
        self.outcomes: list[tuple[int, str, str]] = []
        self.receipts: list[tuple[int, Receipt]] = []

    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        self.accepted.append(event)

    @hookimpl
    async def petitbleu_outcome_recorded(self, event: Event, status: str, reason: str) -> None:
        self.outcomes.append((event.id, status, reason))

    @hookimpl
    async def petitbleu_receipt_recorded(self, event: Event, receipt: Receipt) -> None:
        self.receipts.append((event.id, receipt))


__all__ = ["HANG", "RecordedFields", "RecordingChannel", "RecordingObserver"]
