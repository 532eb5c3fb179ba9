"""Everything Petitbleu raises on purpose.

PetitbleuError
├── ConfigError            the configuration, every problem at once
├── PluginError            a plugin that cannot be loaded or used
├── IntakeError
│   ├── EventsRefused      the caller must change something
│   │   └── KeyReused      the key of a call stands for another call
│   └── Unavailable        the caller should come back later
├── AccessDenied
│   └── SessionExpired
├── XmlRefused             not XML, or XML we will not read
├── QueryRefused           a question we do not answer
├── NotFound               what an operator names is not there, or not theirs
├── InputRefused           what an operator gives cannot be used
├── TemplateError          a template that is missing, broken or fails to render
├── HandOffRefused         lease lost, expired or cancelled: do not send
├── FetchError             an address that somebody else chose, and that gave no answer
│   ├── FetchRefused       it is not to be asked
│   └── FetchFailed        it could not be asked, or did not answer
└── NotNow                 the provider is given nothing more at the moment
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PetitbleuError(Exception):
    """Base of all our errors; its text is fit for the person who caused it."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong in the configuration. `where` is `file:line:column` (or where else it came from)."""

    where: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}: {self.text}" if self.path else f"{self.where}: {self.text}"


class ConfigError(PetitbleuError):
    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


class PluginError(PetitbleuError):
    def __init__(self, plugin: str, distribution: str, hook: str, cause: str) -> None:
        self.plugin, self.distribution, self.hook, self.cause = plugin, distribution, hook, cause
        where = f", hook {hook}" if hook else ""
        super().__init__(f"plugin {plugin} (from {distribution or 'no distribution'}{where}): {cause}")


class IntakeError(PetitbleuError):
    """An event was not taken, and nothing of its call is stored."""


@dataclass(frozen=True, slots=True)
class EventProblem:
    """One thing wrong with one event; `position` counts from 1 in the caller's collection."""

    position: int
    external_id: str
    attribute: str
    text: str

    def __str__(self) -> str:
        known = f" (externalId {self.external_id})" if self.external_id else ""
        at = f"{self.attribute}: " if self.attribute else ""
        return f"event {self.position}{known}: {at}{self.text}"


class EventsRefused(IntakeError):
    """The caller must change something: every problem of every event of the call."""

    def __init__(self, problems: Sequence[EventProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


class KeyReused(EventsRefused):
    """The key of a call is that of an earlier one, whose events were others."""

    def __init__(self) -> None:
        super().__init__([EventProblem(1, "", "", "the key of this call is that of an earlier one with other events")])


class Unavailable(IntakeError):
    """Nothing is wrong with the events; `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float = 5.0) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class AccessDenied(PetitbleuError):
    """Wrong login, password, token, right or network: callers are never told which."""

    def __init__(self) -> None:
        super().__init__("Invalid login or password. Connection denied.")


class SessionExpired(AccessDenied):
    """The token was ours once; logging on again will help."""


class XmlRefused(PetitbleuError):
    """Not XML, or XML that we do not read; `line` and `column` count from 1, 0 where there is none."""

    def __init__(self, text: str, line: int = 0, column: int = 0) -> None:
        self.text, self.line, self.column = text, line, column
        super().__init__(f"({line}:{column}) : {text}")


class QueryRefused(PetitbleuError):
    """We would have to guess what the question means, so we do not answer it."""


class NotFound(PetitbleuError):
    """There is no such event, template, version or seed, or none that the operator's rights reach."""


class InputRefused(PetitbleuError):
    """`problems` are what cannot be used, such as `address` or `line 3`, each with what is wrong with it."""

    def __init__(self, problems: Sequence[tuple[str, str]], text: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(text or "\n".join(f"{name}: {what}" for name, what in problems))


class TemplateError(PetitbleuError):
    """`where` names the template and, where one is known, `file:line`."""

    def __init__(self, where: str, text: str) -> None:
        self.where, self.text = where, text
        super().__init__(f"{where}: {text}")


class HandOffRefused(PetitbleuError):
    """The message must not be sent now: its lease is gone, it expired or was cancelled. Plugins let it pass."""


class NotNow(PetitbleuError):
    """The provider has enough, or is left alone: the event comes back at `due` (microseconds, by the database's clock),
    at no cost to it. Plugins let it pass."""

    def __init__(self, reason: str, due: int) -> None:
        self.due = due
        super().__init__(reason)


class FetchError(PetitbleuError):
    """`sent` tells whether the other side may have got the request. `status` is that of its answer, where there was one
    and only what followed could not be had; else 0."""

    def __init__(self, reason: str, sent: bool = False, status: int = 0) -> None:
        self.sent = sent
        self.status = status
        super().__init__(reason)


class FetchRefused(FetchError):
    """The URL, the address behind it, a redirect or the body is not what the settings allow."""


class FetchFailed(FetchError):
    """No connection, no answer, or not in time."""
