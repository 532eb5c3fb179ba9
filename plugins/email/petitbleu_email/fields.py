"""What `template.yaml` of an email holds beside the core's own keys."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from typing import Annotated, Any

from petitbleu import Settings
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from .addresses import sender_address
from .headers import HeaderRefused, check_text, custom

STRUCTURAL = {
    "auto-submitted",
    "bcc",
    "cc",
    "date",
    "delivered-to",
    "dkim-signature",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
    "x-event-id",
    "x-event-token",
    "x-original-to",
}
"""Headers the plugin writes itself, or that only relays write; with everything that starts with one of:"""
STRUCTURAL_PREFIXES = ("arc-", "content-", "resent-", "received-")
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,39}")

_NAMED = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^"<>@,;]*?))\s*<(?P<address>[^<>]+)>')
_MEDIA_TYPE = re.compile(r"(application|audio|font|image|model|text|video)/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,99}")

# the machine's own list of types must not decide what recipients get
_types = mimetypes.MimeTypes(filenames=())


def _safe_text(value: str) -> str:
    try:
        check_text(value)
    except HeaderRefused as refused:
        raise ValueError(str(refused)) from None
    return value


def _valid_address(value: str) -> str:
    sender_address(value)
    return value


def _header(name: str, value: str) -> None:
    lower = name.lower()
    if not HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is not a header name: letters, digits and hyphens, at most 40")
    if lower in STRUCTURAL or lower.startswith(STRUCTURAL_PREFIXES):
        raise ValueError(f"{name} is written by Petitbleu itself and cannot be given here")
    try:
        custom(name, value)
    except HeaderRefused as refused:
        raise ValueError(f"{name}: {refused}") from None


def _headers(headers: dict[str, str]) -> dict[str, str]:
    seen = set()
    for name, value in headers.items():
        _header(name, value)
        if name.lower() in seen:
            raise ValueError(f"{name} is given twice")
        seen.add(name.lower())
    return headers


def _named_address(value: Any) -> Any:
    """`Name <address>` and a bare address, as YAML authors write them."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    found = _NAMED.fullmatch(text) if len(text) <= 600 else None
    if found is None:
        return {"address": text}
    quoted = found["quoted"]
    name = found["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return {"name": name, "address": found["address"]}


def _file_name(value: str) -> str:
    _safe_text(value)
    if not value.strip(".") or value != value.strip() or re.search(r"[/\\\t]", value):
        raise ValueError("a file name is needed: no folders, tabs, or spaces at its ends")
    return value


def _media_type(value: str) -> str:
    if not _MEDIA_TYPE.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is not a media type of a file, such as application/pdf")
    return value


SafeText = Annotated[str, AfterValidator(_safe_text)]
FileName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]


class Mailbox(Settings):
    """An address with the name shown beside it."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_safe_text)] = ""
    address: Annotated[str, AfterValidator(_valid_address)]


NamedAddress = Annotated[Mailbox, BeforeValidator(_named_address)]


class Attachment(Settings):
    """A file of the template folder. `inline` ones are shown in the HTML part, by `{{ 'logo.png' | cid }}`."""

    file: str = Field(min_length=1)
    name: FileName | None = None
    """The name recipients see; the file's own unless given."""
    inline: bool = False
    content_type: Annotated[str, AfterValidator(_media_type)] | None = None
    """Known from the name's ending unless given."""

    @property
    def shown_name(self) -> str:
        return self.name or self.file.rpartition("/")[2]

    @property
    def media_type(self) -> str:
        guessed, encoding = _types.guess_type(self.shown_name)
        if self.content_type is not None:
            return self.content_type
        return guessed if guessed and not encoding and _MEDIA_TYPE.fullmatch(guessed) else "application/octet-stream"


class EmailFields(Settings):
    """Strings may be templates; what is checked here is what they rendered to."""

    subject: SafeText
    sender: NamedAddress | None = None
    """The brand's unless given."""
    reply_to: NamedAddress | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    provider: str | None = None
    """One of `plugins.email.providers`, or several, separated by commas; as the settings say unless given."""


def read_fields(fields: Mapping[str, Any]) -> EmailFields:
    """Raises pydantic's `ValidationError`."""
    return EmailFields.model_validate(dict(fields))
