"""From a rendered message to the bytes and the envelope that go to a provider."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from functools import lru_cache
from urllib.parse import quote

from petitbleu import Message
from pydantic import ValidationError

from . import headers, mime
from .addresses import Address, parse_address, sender_address
from .fields import Attachment, EmailFields, Mailbox, read_fields
from .mime import Entity, base64_lines, file_entity, multipart, text_entity
from .plain import plain_text

_ATOM = "!#$%&'*+/=?^_`{|}~"
_PLAIN_KEY = re.compile("[A-Za-z0-9.-]+")


class MessageRefused(ValueError):
    """This message cannot become an email, whatever provider is asked."""


class EmailFormat(Enum):
    """What `emailFormat` of an event asks for."""

    AS_TEMPLATE = 0
    TEXT = 1
    HTML = 2
    MULTIPART = 3


FORMATS = {
    **{str(wanted.value): wanted for wanted in EmailFormat},
    "": EmailFormat.AS_TEMPLATE,
    "unknown": EmailFormat.AS_TEMPLATE,
    "text": EmailFormat.TEXT,
    "html": EmailFormat.HTML,
    "multipart": EmailFormat.MULTIPART,
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A finished email: envelope and content. `provider` is "" where the template names none."""

    sender: Address
    """The envelope's: where bounces go."""
    recipient: Address
    content: bytes
    provider: str
    envelope_id: str = ""
    """What a relay that offers DSN is to call it in its reports (RFC 3461 4.4), and on what it is to report (4.1)."""
    notify: str = ""

    @property
    def smtputf8(self) -> bool:
        """RFC 6531: needed as soon as an address or a header holds more than ASCII."""
        head = self.content.partition(b"\r\n\r\n")[0]
        return self.sender.smtputf8 or self.recipient.smtputf8 or not head.isascii()


def email_format(data: Mapping[str, object]) -> EmailFormat | None:
    """What an event's attributes ask for; None for a value that means nothing."""
    value = data.get("emailFormat")
    return FORMATS.get("" if value is None else str(value).strip().lower())


def content_id(file: str) -> str:
    """The same for a file name here and in the filter `cid`; safe in a URL and in a header as it is."""
    readable = re.sub(r"[^a-z0-9]+", "-", file.lower())[:40].strip("-")
    return f"{readable}-{hashlib.sha256(file.encode(errors='replace')).hexdigest()[:12]}@inline"


def cid(file: str) -> str:
    """Filter: the URL of an inline image, `<img src="{{ 'logo.png' | cid }}">`."""
    return f"cid:{content_id(str(file))}"


def message_id(key: str, domain: str) -> str:
    """RFC 5322 3.6.4, from what stays the same over all tries."""
    left = key.replace("@", ".")
    if not _PLAIN_KEY.fullmatch(left):
        left = quote(left, safe=_ATOM)
    if left.startswith(".") or left.endswith(".") or ".." in left:
        left = left.replace(".", "%2E")
    return f"<{left}@{domain}>"


class Composer:
    """Makes `Mail` of `Message`; keeps the base64 of the last files, since templates attach the same ones again."""

    def __init__(self, max_size: int, cached_files: int) -> None:
        self._max_size = max_size
        self._base64: Callable[[bytes], bytes] = lru_cache(maxsize=cached_files)(base64_lines)

    def compose(self, message: Message) -> Mail:
        """Raises `MessageRefused`."""
        fields = _fields(message)
        if fields.sender is None:
            raise MessageRefused("there is no sender: give one in template.yaml or in the brand")
        try:
            sender, recipient = sender_address(fields.sender.address), parse_address(message.address)
            head = _head(message, fields, fields.sender, sender, recipient)
            content = mime.message(head, self._body(message, fields))
        except UnicodeEncodeError:
            raise MessageRefused("its text holds half a character (a lone surrogate)") from None
        except ValueError as error:
            raise MessageRefused(str(error)) from None
        if len(content) > self._max_size:
            raise MessageRefused(f"it has {len(content)} bytes; max_size allows {self._max_size}")
        return Mail(sender, recipient, content, fields.provider or "")

    def _body(self, message: Message, fields: EmailFields) -> Entity:
        boundary = f"=_{hashlib.sha256(message.key.encode()).hexdigest()[:24]}"
        texts, has_html = _texts(message)
        inline = [self._file(message, item) for item in fields.attachments if item.inline] if has_html else []
        attached = [self._file(message, item) for item in fields.attachments if not item.inline]
        if inline:
            texts[-1] = multipart("related", f"{boundary}_r", [texts[-1], *inline], 'type="text/html"')
        body = texts[0] if len(texts) == 1 else multipart("alternative", f"{boundary}_a", texts)
        return multipart("mixed", f"{boundary}_m", [body, *attached]) if attached else body

    def _file(self, message: Message, item: Attachment) -> Entity:
        data = message.content.files.get(item.file)
        if data is None:
            raise MessageRefused(f"template.yaml attaches {item.file}, which is not in the template's folder")
        identity = content_id(item.file) if item.inline else ""
        return file_entity(data, item.shown_name, item.media_type, identity, self._base64)


def _fields(message: Message) -> EmailFields:
    try:
        return read_fields(message.content.fields)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        words = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems)
        raise MessageRefused(f"template.yaml: {words}") from None


def _texts(message: Message) -> tuple[list[Entity], bool]:
    """The text parts wanted, simplest first (RFC 2046 5.1.4), and whether HTML is the last of them."""
    wanted = email_format(message.event.data)
    if wanted is None:
        raise MessageRefused("its emailFormat means nothing")
    html, text = message.content.parts.get("html"), message.content.parts.get("text")
    if html is None and text is None:
        raise MessageRefused("its template has neither body.html.j2 nor body.txt.j2")
    if html is None or wanted is EmailFormat.TEXT:
        return [text_entity(_text(html, text), "plain")], False
    if wanted is EmailFormat.HTML:
        return [text_entity(html, "html")], True
    return [text_entity(_text(html, text), "plain"), text_entity(html, "html")], True


def _text(html: str | None, text: str | None) -> str:
    """The template's own text, or what the HTML says where there is none."""
    return plain_text(html) if html is not None and not (text or "").strip() else text or ""


def _head(message: Message, fields: EmailFields, named: Mailbox, sender: Address, recipient: Address) -> bytes:
    event = message.event
    lines = [
        _mailbox("From", named.name, sender),
        headers.mailbox("To", "", recipient),
    ]
    if message.instead_of:
        lines.append(headers.mailbox("X-Original-To", "", parse_address(message.instead_of)))
    if fields.reply_to is not None:
        lines.append(_mailbox("Reply-To", fields.reply_to.name, sender_address(fields.reply_to.address)))
    lines += [
        headers.text("Subject", fields.subject),
        # the event's time, not the try's: a repeat is the same message in every byte
        _date(int(event.created.timestamp())),
        headers.fold("Message-ID", [" " + message_id(message.key, sender.domain)]),
        b"MIME-Version: 1.0\r\n",
        b"Auto-Submitted: auto-generated\r\n",
        headers.fold("X-Event-Id", [f" {event.id}"]),
    ]
    lines += [headers.custom(name, value) for name, value in fields.headers.items()]
    return b"".join(lines)


@lru_cache(maxsize=64)
def _date(seconds: int) -> bytes:
    return headers.fold("Date", [" " + format_datetime(datetime.fromtimestamp(seconds, UTC))])


# whom mails come from and where replies go is nearly always the same
_mailbox = lru_cache(maxsize=256)(headers.mailbox)
