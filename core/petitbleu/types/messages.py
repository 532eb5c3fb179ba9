"""A message, and the channel that it goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from .events import Event


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """One published version of a template, in one of its languages (`""` is the template's default language)."""

    event_type: str
    channel: str
    version: int
    language: str = ""
    brand: str = ""
    """Whom the template speaks for, where routing names no brand."""


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered template. `parts` by the channel's part names, `fields` as the channel's `fields` model names them,
    `files` by the names they have in the template folder."""

    parts: Mapping[str, str]
    fields: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """An event rendered for one channel and address.

    `key` is the same for every try of this message, on any machine, for as long as the event lives: providers that
    recognise repeats are given it (Message-ID, `apns-id`, an idempotency header).
    """

    event: Event
    channel: str
    address: str
    brand: str
    template: TemplateRef
    content: Content
    key: str
    instead_of: str = ""
    """In safe mode, the recipient in whose place `address` gets it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a template: `html` is rendered from `body.html.j2` (and `body.fr.html.j2` …)."""

    name: str
    file: str
    escape: Literal["html", "none"] = "none"


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off: `first` seconds, doubled each time up to `cap`, with full jitter; at most `tries` tries."""

    first: float = 30.0
    cap: float = 3600.0
    tries: int = 12


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach someone, owned by the plugin that declares it."""

    name: str
    address: str
    """The event attribute that holds the address: `email`, `mobilePhone`, `registrationToken`, or one of the plugin's
    own, which comes with `address_check`."""
    fields: type[BaseModel]
    """Types what `template.yaml` may hold beside the core's own keys; strings in it may be templates."""
    aliases: tuple[str, ...] = ()
    """Other spellings callers use in `wishedChannel`, numbers included (`"0"`)."""
    parts: tuple[Part, ...] = ()
    unknown: Literal["retry_once", "hold"] = "retry_once"
    """What follows an `Unknown` outcome."""
    retry: Retry = Retry()
    providers: tuple[str, ...] = ()
    """Those it hands messages to, where the settings name them: limits for others are refused as misspelt."""
    preview: Callable[[Content], Sequence[str]] | None = None
    """More lines for whoever previews a template: what the channel makes of its content. Must not fail."""
    embed: Callable[[Content], Mapping[str, str]] | None = None
    """The parts with what they show beside their text within: images of the message as `data:` URIs, for a page that
    shows it and can fetch nothing. Must not fail."""
    address_check: Callable[[str], str] | None = None
    """For an attribute of the plugin's own: given what the caller wrote, the address to keep. Raises `ValueError` with
    words that go on from the attribute's name ("is not a LINE user id"). Must be pure and quick."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A message that a stand-in took in the place of a provider."""

    channel: str
    to: str
    reference: str
    """By what the stand-in called it in its answer, as `Delivered.reference` has it."""
    lines: tuple[str, ...]
    """The message, for people."""
    problems: tuple[str, ...] = ()
    """What is not as it should be, whoever wrote the template."""


@dataclass(frozen=True, slots=True)
class Catcher:
    """A stand-in for a channel's providers, by which `petitbleu demo` shows the channel on one machine."""

    name: str
    start: Callable[[Callable[[Caught], None]], AbstractAsyncContextManager[Mapping[str, Any]]]
    """Given what to call with each message, a context manager: inside it the stand-in listens on 127.0.0.1. It yields
    what the plugin's settings need in place of the configured ones, as nested mappings, so that messages go there."""
