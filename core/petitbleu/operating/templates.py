"""Templates: drafts, versions, previews, proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ..types import IncomingEvent, Operator
from .asking import Actor


@dataclass(frozen=True, slots=True)
class TemplateState:
    """A line of the list of templates."""

    event_type: str
    channel: str
    version: int | None
    """The published one, None where none is."""
    draft: str
    """`published` (nothing to publish), `changed`, `new`, `broken`, or `none`: the folder is gone."""
    labels: tuple[str, ...] = ()
    problem: str = ""
    """What is wrong with a broken draft."""
    seeds: tuple[str, ...] = ()
    """The names of the draft's seeds."""
    languages: tuple[str, ...] = ()
    """Those the draft speaks, the default one first."""
    folder: str = ""
    """Where the draft is, on the machine that was asked."""


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """A published version. `digest` is the SHA-256 of its content; new messages are made of the `current` one."""

    event_type: str
    channel: str
    number: int
    digest: str
    created: datetime
    created_by: str
    current: bool


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """What a version is made of. `texts` by file: settings, parts, layouts, and of attachments what they are."""

    event_type: str
    channel: str
    version: int | None
    """None: the draft."""
    texts: Mapping[str, str]
    content: str
    """All of it as it is stored, as JSON."""


@dataclass(frozen=True, slots=True)
class TemplateNeed:
    """A path below `ctx` that the texts of a template read, such as `order.number`, and the ids of those of the latest
    events that had nothing there, the newest first."""

    path: str
    lacking: Sequence[int]


@dataclass(frozen=True, slots=True)
class Preview:
    """A message that nobody is sent. `files` by name with their sizes in bytes; `notes` are the channel's."""

    address: str
    language: str
    fields: Mapping[str, Any]
    parts: Mapping[str, str]
    files: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that was sent to `address`, or was not. `outcome` is `delivered`, `deferred`, `failed`, `unknown`,
    or `withheld` by safe mode."""

    seed: str
    address: str
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Published:
    """`changed` is false when the same content ruled already."""

    version: int
    changed: bool


class TemplateDesk(Protocol):
    """Templates by name: `TYPE/CHANNEL`, or the type alone where it has a single channel. A version is a number,
    `draft`, or empty for the published one. Looking wants the right `read`, all else `publish`."""

    async def list(self, operator: Operator) -> Sequence[TemplateState]: ...

    async def versions(self, name: str, operator: Operator) -> Sequence[TemplateVersion]:
        """Oldest first."""
        ...

    async def source(self, name: str, operator: Operator, version: str = "") -> TemplateSource: ...

    async def diff(self, name: str, operator: Operator, old: str = "", new: str = "draft") -> str:
        """Unified, file by file; empty when nothing differs."""
        ...

    async def needs(self, name: str, operator: Operator, version: str = "") -> Sequence[TemplateNeed]:
        """By the alphabet. Which events lack something is told with the right `data`."""
        ...

    async def preview(
        self,
        name: str,
        operator: Operator,
        *,
        version: str = "draft",
        seed: str = "",
        event: IncomingEvent | None = None,
        language: str = "",
        images: bool = False,
    ) -> Preview:
        """Rendered for a seed of the draft (without a name: the first), or for an event as a caller would send it. With
        `images` those of the message stand in its parts, for a page that can fetch nothing."""
        ...

    async def proof(self, name: str, actor: Actor, *, seed: str = "", to: str = "") -> Sequence[Proof]:
        """Send the draft to its seeds, or to one of them; `to` is another address than theirs."""
        ...

    async def publish(self, name: str, actor: Actor) -> Published:
        """Freeze the draft and use it for new messages, once it renders for every seed and in every language."""
        ...

    async def unpublish(self, name: str, actor: Actor) -> None: ...

    async def rollback(self, name: str, version: int, actor: Actor) -> Published: ...
