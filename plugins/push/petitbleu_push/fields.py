"""What `template.yaml` of a push notification holds beside the core's own keys, one type for each channel.

There are no part files: texts are short, and so each is rendered, checked and measured together with all others. What
does not fit the platform fails in preview as it does in delivery.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from petitbleu import Content, Settings
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

APNS_LIMIT = 4096
"""Bytes of a payload: Apple, "Generating a remote notification"."""
FCM_LIMIT = 4096
"""Bytes of notification and data together: Firebase, "About FCM messages"."""
WEB_LIMIT = 3993
"""What is left of the 4096 bytes every push service takes (RFC 8030 7.2) after header, padding and tag (RFC 8291 4)."""
LONGEST_TTL = 2_419_200
"""Four weeks, the most that FCM and web push services keep a message."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINK = re.compile(r"(?!(?:javascript|data|vbscript):)[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+", re.IGNORECASE)
_IMAGE = re.compile(r"https://[A-Za-z0-9][\x21-\x7e]*")
_NAME = re.compile(r"[\x21-\x7e]+")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_RESERVED = re.compile(r"aps|image|link|from|message_type|collapse_key|(google|gcm)([._-].*)?", re.IGNORECASE)


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what the template leaves open."""
    return {name: value for name, value in values.items() if value not in ("", None)}


def _text(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("a control character is in it")
    return value.strip()


def _line(value: str) -> str:
    if "\n" in value.strip():
        raise ValueError("it has more than one line")
    return _text(value)


def _matches(pattern: re.Pattern[str], expected: str) -> Any:
    def check(value: str) -> str:
        value = value.strip()
        if value and not pattern.fullmatch(value):
            raise ValueError(f"should be {expected}")
        return value

    return AfterValidator(check)


def _nothing(value: Any) -> Any:
    """A template that renders to nothing gives no number."""
    return None if isinstance(value, str) and not value.strip() else value


def _data(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if not _KEY.fullmatch(key) or _RESERVED.fullmatch(key):
            raise ValueError(f"{key[:60]!r} cannot be a key: letters, digits, _ . and -, and none that is taken")
        _text(text)
    return value


Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[str, AfterValidator(_line)]
Image = Annotated[str, Field(max_length=2048), _matches(_IMAGE, "an https address")]
Link = Annotated[str, Field(max_length=2048), _matches(_LINK, "an address with its scheme, such as shop://orders/7")]
Word = Annotated[str, Field(max_length=64), _matches(_NAME, "visible ASCII characters")]
Badge = Annotated[Annotated[int, Field(ge=0, le=99_999)] | None, BeforeValidator(_nothing)]
Seconds = Annotated[Annotated[int, Field(ge=0, le=LONGEST_TTL)] | None, BeforeValidator(_nothing)]


class PushFields(Settings, ABC):
    """What all platforms have. Strings may be templates; what is checked here is what they rendered to."""

    limit: ClassVar[int]
    what: ClassVar[str]

    title: Line = ""
    body: Text = ""
    image: Image = ""
    """Address of a picture."""
    link: Link = ""
    """Deep link: what opens when the notification is tapped."""
    data: Annotated[dict[str, str], AfterValidator(_data)] = Field(default_factory=dict)
    """For the app: names with texts."""
    badge: Badge = None
    """Number at the app's icon; 0 takes it away."""
    sound: Line = ""
    """`default`, or a file of the app."""
    silent: bool = False
    """Nothing is shown; the app is woken and given `data`."""
    priority: Literal["high", "normal"] = "high"
    ttl: Seconds = None
    """Seconds the service keeps it for a device that is off; the event's expiration may be sooner."""
    collapse: Word = ""
    """Of notifications with one key the device shows the last; the message's own unless given."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.silent and not (self.title or self.body):
            raise ValueError("there is nothing to show: give title or body, or silent: true")
        size = len(self.measured())
        if size > self.limit:
            raise ValueError(f"{self.what} has {size} bytes; the limit is {self.limit}")
        return self

    @abstractmethod
    def measured(self) -> bytes:
        """What the platform's limit is about, as JSON: of `ios` and `web` the body itself."""


class IosFields(PushFields):
    """Channel `ios`."""

    limit = APNS_LIMIT
    what = "the APNs payload"

    subtitle: Line = ""
    category: Word = ""
    """Of the app's notification actions."""
    thread: Word = ""
    """Notifications of one thread are shown as a group."""
    interruption: Literal["", "passive", "active", "time-sensitive"] = ""
    topic: Word = ""
    """In place of the app's own, for its extensions."""

    def measured(self) -> bytes:
        """The body of a request to APNs; `image` and `link` are for the app's own code."""
        alert = filled({"title": self.title, "subtitle": self.subtitle, "body": self.body})
        aps = filled(
            {
                "badge": self.badge,
                "sound": self.sound,
                "category": self.category,
                "thread-id": self.thread,
                "interruption-level": self.interruption,
            }
        )
        if self.silent:
            aps = {**filled({"badge": self.badge}), "content-available": 1}
        else:
            aps["alert"] = alert
            if self.image:
                aps["mutable-content"] = 1  # lets the app's extension fetch the picture
        return orjson.dumps({"aps": aps, **filled({"image": self.image, "link": self.link}), **self.data})


class AndroidFields(PushFields):
    """Channel `android`."""

    limit = FCM_LIMIT
    what = "the FCM payload (notification and data)"

    category: Word = ""
    """The activity that a tap opens (`click_action`)."""
    notification_channel: Word = ""
    """One of the app's notification channels."""

    def measured(self) -> bytes:
        return orjson.dumps(self.parts())

    def parts(self) -> dict[str, Any]:
        """`data` and `notification` of a message."""
        data = {**self.data, **filled({"link": self.link})}
        found: dict[str, Any] = {"data": data} if data else {}
        if not self.silent:
            found["notification"] = filled({"title": self.title, "body": self.body, "image": self.image})
        return found


class WebFields(PushFields):
    """Channel `web`."""

    limit = WEB_LIMIT
    what = "the web push payload"

    icon: Image = ""

    def measured(self) -> bytes:
        """What the page's service worker gets: options of `showNotification`, and beside them link and data."""
        shown = filled(
            {
                "title": self.title,
                "body": self.body,
                "image": self.image,
                "icon": self.icon,
                "badge": self.badge,
                "sound": self.sound,
                "link": self.link,
            }
        )
        silent: dict[str, Any] = {"silent": True} if self.silent else {}
        return orjson.dumps({**shown, **silent, **({"data": self.data} if self.data else {})})


def size_lines(kind: type[PushFields], content: Content) -> list[str]:
    """For whoever previews a template."""
    size = len(kind.model_validate(dict(content.fields)).measured())
    return [f"{size} of {kind.limit} bytes"]
