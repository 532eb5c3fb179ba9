"""A provider that takes messages by HTTP, described in YAML alone."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self

from petitbleu import ReceiptState, Scope, Settings, host_of
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from .addressing import check_sender
from .filling import check_template, compile_tree, path_steps

Seconds = Annotated[float, Field(gt=0, le=3600)]
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def _template(value: str) -> str:
    check_template(value)
    return value


def _path(value: str) -> str:
    path_steps(value)
    return value


def _country(value: str) -> str:
    if value != "*" and not re.fullmatch(r"[A-Z]{2}", value):
        raise ValueError("must be a country as two capital letters, such as FR, or *")
    return value


def _sender(value: str) -> str:
    check_sender(value)
    return value


Template = Annotated[str, AfterValidator(_template)]
Path = Annotated[str, AfterValidator(_path)]
Statuses = Annotated[str, Field(pattern=r"^[1-5](\d\d|xx)(-[1-5]\d\d)?$")]
Senders = dict[str, dict[Annotated[str, AfterValidator(_country)], Annotated[str, AfterValidator(_sender)]]]


class Answers(Settings):
    """An answer this is true of: its HTTP status, and what stands at `path` of its JSON."""

    status: tuple[Statuses, ...] = ("2xx",)
    """Such as 200, 2xx or 200-204."""
    path: Path | None = None
    """Such as `messages.0.status`; `*` is each item of a list, and then all of them must fit."""
    values: tuple[str, ...] = ()
    """What may stand there, as text; empty: anything."""

    @field_validator("status", "values", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


class Refusal(Answers):
    """What an answer that is no success means for a message."""

    status: tuple[Statuses, ...] = ("1xx", "2xx", "3xx", "4xx", "5xx")
    outcome: Literal["failed", "deferred", "unknown"] = "failed"
    """`failed`: refused for good. `deferred`: to be tried again. `unknown`: the gateway may have it."""
    scope: Scope = Scope.MESSAGE


class Signature(Settings):
    """How receipts prove whom they come from."""

    kind: Literal["hmac-sha256", "hmac-sha512", "token"]
    """An HMAC of the body, or a secret that the sender repeats."""
    secret: SecretStr = Field(min_length=1)
    header: str = ""
    """The header that holds it."""
    parameter: str = ""
    """For a token: the query parameter that holds it instead."""
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    """What stands before it in the header, such as `sha256=`."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if bool(self.header) == bool(self.parameter):
            raise ValueError("where is it? give header, or for a token parameter")
        if self.parameter and self.kind != "token":
            raise ValueError("an HMAC stands in a header")
        return self


class ReceiptRule(Settings):
    """What an error code in receipts means."""

    scope: Scope = Scope.ADDRESS
    permanent: bool = True
    """Whether the next message will fare no better."""


class Receipts(Settings):
    """Receipts that the gateway posts to `/sms/receipts/NAME`; paths lead into its JSON, form or query."""

    signature: Signature
    items: Path | None = None
    """Where a list of receipts stands, if one request brings several; `$` is the body itself."""
    id: Path
    """What the gateway calls the message."""
    state: Path
    states: dict[str, ReceiptState] = Field(min_length=1)
    """What the gateway's words mean: underway, received, bounced or complained. Others are `underway`."""
    error: Path | None = None
    errors: dict[str, ReceiptRule] = Field(default_factory=dict)
    """By error code; others say nothing against the number."""
    time: Path | None = None
    """ISO 8601, or seconds since 1970."""
    answer: int = Field(200, ge=200, le=299)
    """The HTTP status that tells the gateway it is stored."""


class Gateway(Settings):
    """One provider, reached by HTTP. Texts may hold `{{ to }}`, `{{ number }}` (without the +), `{{ sender }}`,
    `{{ text }}`, `{{ key }}`, `{{ event }}` and `{{ secrets.NAME }}`."""

    method: Literal["POST", "PUT", "GET"] = "POST"
    url: Template
    """What is filled in is percent-encoded. Scheme and host are fixed."""
    query: dict[str, Template] = Field(default_factory=dict)
    headers: dict[str, Template] = Field(default_factory=dict)
    json_body: Any = Field(None, alias="json")
    """Any YAML; its texts may be templates."""
    form: dict[str, Template] | None = None
    secrets: dict[str, Annotated[SecretStr, Field(min_length=1)]] = Field(default_factory=dict)
    ca_file: str | None = None
    """PEM certificates to trust instead of the system's."""
    success: Answers = Answers()
    id: Path | None = None
    """Where the answer's JSON names the message, or each of its parts, such as `messages.*.id`."""
    refusals: tuple[Refusal, ...] = ()
    """What other answers mean; the first that fits, before the README's table."""
    receipts: Receipts | None = None
    senders: Senders = Field(default_factory=dict)
    """As `plugins.sms.senders`, for this gateway alone."""
    at_once: int = Field(20, ge=1, le=1000)
    """Requests at the same time, in each process."""
    connect: Seconds = 10
    response: Seconds = 30
    """Seconds for the whole request."""
    longest_answer: int = Field(100_000, ge=1000, le=10_000_000)
    """Bytes of an answer that are read."""

    @field_validator("url")
    @classmethod
    def _fixed_host(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        host = rest.partition("/")[0].partition("?")[0]
        name = host_of(f"//{host}")
        if "{" in host or "@" in host or not name:
            raise ValueError("must name its host in full, without a login")
        if scheme != "https" and not (scheme == "http" and name in LOOPBACK):
            raise ValueError("must begin with https://")
        return value

    @field_validator("headers")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is not a header name")
        return value

    @field_validator("json_body")
    @classmethod
    def _templates(cls, value: Any) -> Any:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            # YAML has dates, times and infinities
            raise ValueError(f"is nothing that JSON can hold; put it in quotes: {error}") from None
        compile_tree(value)
        return value

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.json_body is not None and self.form is not None:
            raise ValueError("give json or form, not both")
        if self.method == "GET" and (self.json_body is not None or self.form is not None):
            raise ValueError("a GET has no body: use query")
        return self
