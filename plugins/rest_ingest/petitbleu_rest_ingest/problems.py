"""What a caller reads when a call fails: problem documents (RFC 9457), as one table of their kinds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from petitbleu import AccessDenied, InputRefused, NotFound, QueryRefused, TemplateError, Unavailable
from pydantic import AfterValidator, Field
from pydantic.alias_generators import to_camel

from .operation import Told

MEDIA = "application/problem+json"
PAGE = "/api/"
"""Where each kind of problem is explained, under its name as the anchor."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, its title, and what a caller should do about it."""

    status: int
    title: str
    advice: str


KINDS: Mapping[str, Kind] = {
    "invalid-body": Kind(400, "The body cannot be read", "Mend the body: `detail` says where it stops being JSON."),
    "invalid-parameters": Kind(
        400, "A parameter cannot be used", "Mend the query parameters or headers that `errors` names."
    ),
    "unauthorized": Kind(
        401,
        "Who is calling is not known",
        "Check token, login, password and expiry, and that they may be used from this network; which of them is wrong "
        "is not told.",
    ),
    "forbidden": Kind(403, "The right to do this is missing", "Ask for the right that `detail` names."),
    "not-found": Kind(404, "There is no such thing", "Check the address."),
    "method-not-allowed": Kind(405, "The method is not known here", "Use one of the methods in the header `Allow`."),
    "conflict": Kind(409, "It cannot be done as things are", "`detail` says what stands against it."),
    "too-large": Kind(413, "The body is too large", "Send less at a time."),
    "unsupported-media-type": Kind(
        415, "The body has another content type", "Send one of the content types in the header `Accept`."
    ),
    "invalid-event": Kind(422, "The event is invalid", "Mend what `errors` names; nothing of the call is stored."),
    "invalid-fields": Kind(422, "The body does not say what it should", "Mend what `errors` names."),
    "invalid-template": Kind(
        422, "The template cannot be used so", "Mend what `detail` names, by file and line where it is known."
    ),
    "key-reused": Kind(
        422,
        "The key of the call is that of another one",
        "Give a new call a new `Idempotency-Key`; repeat an old one as it was.",
    ),
    "internal": Kind(500, "Internal error", "Repeat it later; the server's log tells why."),
    "unavailable": Kind(503, "The server cannot take the call now", "Repeat it after `Retry-After` seconds."),
}
ALWAYS = frozenset({"unauthorized", "forbidden", "internal", "unavailable"})
"""Any operation may end with these."""


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_Words = Annotated[str, AfterValidator(_whole)]
"""They may repeat what a caller sent, half a character too, which no answer could hold."""


class FieldError(Told):
    """One thing that is wrong."""

    detail: _Words = Field(description="What is wrong, and what would be right.")
    pointer: _Words | None = Field(None, description="Where in the body it stands (JSON Pointer, RFC 6901).")
    parameter: _Words | None = Field(None, description="The query parameter or header that it is about.")


class ProblemDocument(Told):
    """Why a call failed (RFC 9457)."""

    type: str = Field(description="Address of what explains this kind of problem.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status.")
    detail: _Words = Field(description="What is wrong this time.")
    instance: _Words = Field(description="The address that was called.")
    errors: tuple[FieldError, ...] | None = Field(None, description="Everything that is wrong, one by one.")


class Problem(Exception):
    """Ends a call with the problem document of its kind."""

    def __init__(
        self, kind: str, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(kind)
        self.kind, self.detail, self.errors, self.headers = kind, detail, tuple(errors), dict(headers or {})


def problem_of(error: Exception, retry_after: int) -> Problem:
    """The problem for an error of the core; `retry_after` is for calls that were not answered in time."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, AccessDenied):
        return Problem("forbidden", "The operator lacks a right for this, or for what it is about.")
    if isinstance(error, NotFound):
        return Problem("not-found", f"{str(error)[:1].upper()}{str(error)[1:]}, or none that the operator may see.")
    if isinstance(error, InputRefused):
        errors = [_field(name, text) for name, text in error.problems]
        return Problem("invalid-fields", "What was given cannot be used.", errors)
    if isinstance(error, TemplateError):
        return Problem("invalid-template", str(error))
    if isinstance(error, QueryRefused):
        return Problem("invalid-parameters", str(error))
    if isinstance(error, Unavailable):
        return Problem("unavailable", str(error), headers={"Retry-After": str(max(1, math.ceil(error.retry_after)))})
    if isinstance(error, TimeoutError):
        text = "The call did not end in time; it is not known whether it took effect."
        return Problem("unavailable", text, headers={"Retry-After": str(retry_after)})
    return Problem("internal", "The server could not process the call. Its log tells why.")


def _field(name: str, text: str) -> FieldError:
    if not name.isidentifier():
        return FieldError(detail=f"{name}: {text}")
    return FieldError(pointer=f"/{to_camel(name)}", detail=text)


def document(problem: Problem, instance: str) -> ProblemDocument:
    kind = KINDS[problem.kind]
    return ProblemDocument(
        type=f"{PAGE}#{problem.kind}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        instance=instance,
        errors=problem.errors or None,
    )


def response(problem: Problem, instance: str) -> web.Response:
    body = document(problem, instance).model_dump_json(exclude_none=True).encode()
    headers = {"Cache-Control": "no-store", **problem.headers}
    return web.Response(status=KINDS[problem.kind].status, body=body, content_type=MEDIA, headers=headers)
