"""This installation: its name and place, its door, and where its templates are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from ...networks import Host, Network
from .values import Bytes, Count, Duration, Port, Section, TimeZone, checked


class Instance(Section):
    name: Annotated[
        str, checked(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "a name of letters, digits, . and -")
    ] = Field("petitbleu", description="Name of this installation; part of every Message-ID, so never change it.")
    cell: int = Field(1, ge=1, le=127, description="Number of this installation, the high byte of every event id.")
    public_url: Annotated[
        str,
        checked(
            r"|https?://[^\s/?#]+(/[^\s?#]*[^\s?#/])?",
            "an address such as https://mail.example.com, without / at the end",
        ),
    ] = Field("", description="How callers reach this server, where a request does not tell.")
    time_zone: TimeZone = Field(
        default_factory=lambda: ZoneInfo("UTC"),
        description="Zone of times that come without one, such as Europe/Paris.",
    )
    brand: str = Field("", description="Brand of messages for which no rule, event type or template names one.")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks whose X-Forwarded-For, -Proto and -Host are believed."
    )


class Http(Section):
    host: Host = Field("127.0.0.1", description="Address or host name to listen on.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one.")
    body_limit: Bytes = Field(8_388_608, description="Bytes of a request body at most.")
    requests: Count = Field(1000, description="Requests under way at once; further ones are answered 503.")
    farewell: Duration = Field(
        1.0, description="How long callers may use the connections they keep, once more each, when the server stops."
    )
    shutdown: Duration = Field(10.0, description="How long open requests may take to finish when the server stops.")


class LimitSettings(Section):
    events: Count = Field(1000, description="Events of one call.")
    pending: Count = Field(100_000, description="Open events; past it calls are refused until some are done.")
    attribute: Count = Field(4096, description="Characters of one attribute of an event.")
    data: Bytes = Field(1_048_576, description="Bytes of one event, as JSON.")
    deadline: Duration = Field(5.0, description="How long storing the events of a call may take.")
    call_keys: Duration = Field(86400.0, description="How long a call's own key (Idempotency-Key) stands for it.")
    outbox: Count = Field(1_000_000, description="Notices of one subscription that wait; of more it is told nothing.")
    unheard: Count = Field(20, description="News that a plugin which does not answer has open; it hears of no more.")
    untold: Count = Field(10_000, description="Accepted events that wait for slow plugins; of more they hear nothing.")
    rows: int = Field(1000, ge=1, le=10_000, description="Rows of a listing that operators get at once.")
    changes: int = Field(
        100, ge=1, le=1000, description="Events that operators change by one call, in one transaction."
    )
    previews: int = Field(2, ge=1, le=64, description="Templates rendered for operators at the same time.")
    origins: Count = Field(100, description="Origins that reports tell apart; further ones are counted as other.")


class RenderSettings(Section):
    seconds: Duration = Field(2.0, description="Time for one message.")
    characters: Count = Field(2_000_000, description="Characters of one part, or items of one list, that are built.")
    built: Count = Field(20_000_000, description="Characters and items built in all.")
    iterations: Count = Field(100_000, description="Rounds of all loops together.")
    range: Count = Field(10_000, description="Numbers of a range(), width of padding.")
    bits: Count = Field(256, description="Bits of a whole number.")


class TemplateSettings(Section):
    directory: Path = Field(Path("templates"), description="Where the drafts are, from the configuration's directory.")
    limits: RenderSettings = Field(default_factory=RenderSettings, description="What rendering a message may use up.")
