"""From aiohttp to an operation and back: who calls, whether they may, what they give, and what they are told."""

from __future__ import annotations

import asyncio
import base64
import binascii
import difflib
import logging
import re
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from multidict import MultiMapping
from petitbleu import AccessDenied, Credentials, Operator
from pydantic import BaseModel, TypeAdapter, ValidationError

from .operation import Answer, Body, Call, Door, Operation, Raw
from .problems import FieldError, Problem, problem_of, response

logger = logging.getLogger("petitbleu.rest")

_CHALLENGES = 'Bearer realm="petitbleu", Basic realm="petitbleu", charset="UTF-8"'
_DENIED = "The credentials are missing, wrong or expired, or cannot be used from this network."
_ENCODINGS = ("gzip", "deflate")


def operation_routes(door: Door, operations: Sequence[Operation]) -> list[web.RouteDef]:
    """A route for each operation, and behind them answers for what nobody declared on the same paths."""
    methods: dict[str, set[str]] = {}
    for one in operations:
        methods.setdefault(_shape(one.path), set()).add(one.method)
    paths = {_shape(one.path): one.path for one in operations}
    return [
        *(web.route(one.method, one.path, _handler(door, one)) for one in operations),
        *(web.route("*", paths[shape], _wrong_method(known)) for shape, known in methods.items()),
    ]


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _wrong_method(known: set[str]) -> Any:
    allowed = ", ".join(sorted(known | ({"HEAD"} if "GET" in known else set())))

    async def handle(request: web.Request) -> web.Response:
        problem = Problem("method-not-allowed", f"The methods here are {allowed}.", headers={"Allow": allowed})
        return response(problem, request.path)

    return handle


async def nothing_here(request: web.Request) -> web.Response:
    """The answer below `/api/` where there is nothing."""
    return response(Problem("not-found", "Nothing is at this address; /api/ lists what there is."), request.path)


def _handler(door: Door, operation: Operation) -> Any:
    adapters = {media: TypeAdapter(model) for media, model in operation.body.media.items()} if operation.body else {}

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            operator = await _operator(door, request)
            if not operator.may(operation.right):
                raise Problem("forbidden", f"The operator lacks the right {operation.right!r}.")
            given: dict[str, Any] = {}
            if operation.parameters is not None:
                given["path"] = _parameters(operation.parameters, request)
            query = _given(operation.query, request.query, "query parameter")
            if query is not None:
                given["query"] = query
            if operation.headers is not None:
                given["headers"] = _headers(operation.headers, request)
            if operation.body is not None:
                given["body"] = await _body(operation.body, adapters, request)
            async with asyncio.timeout(door.settings.deadline):
                answer = await operation.run(Call(door, operator, request), **given)
        except Exception as error:
            note(error, operation.name)
            return response(problem_of(error, door.settings.retry_after), request.path)
        if isinstance(answer.content, AsyncIterator):
            return await _stream(answer, answer.content, request)
        return _response(answer, answer.content)

    return handle


async def _operator(door: Door, request: web.Request) -> Operator:
    """Cookies count for nothing here, so that no page can call in its visitor's name; nor can one on behalf of a
    trusted network, or with a password that the browser keeps."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Problem("forbidden", "Calls from pages of another origin are not taken.")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    token = value.strip()
    if scheme.lower() == "basic":
        token = _basic(token)
    elif scheme.lower() != "bearer" and scheme:
        token = ""
    try:
        if scheme and not token:
            raise AccessDenied
        return await door.services.auth.authenticate(Credentials(request.remote or "", token))
    except AccessDenied:
        raise Problem("unauthorized", _DENIED, headers={"WWW-Authenticate": _CHALLENGES}) from None


def _basic(value: str) -> str:
    """`login/password` of RFC 7617's `login:password`; "" where it is none."""
    try:
        login, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return f"{login}/{password}" if colon and "/" not in login else ""


def _parameters(model: type[BaseModel], request: web.Request) -> BaseModel:
    try:
        return model.model_validate(dict(request.match_info))
    except ValidationError as error:
        raise Problem("not-found", "; ".join(_said(one) for one in error.errors())) from None


def _given(model: type[BaseModel] | None, given: MultiMapping[str], what: str) -> BaseModel | None:
    """What `given` says, as the model has it. A name may come twice only where the model takes several values."""
    fields = {} if model is None else {field.alias or name: field for name, field in model.model_fields.items()}
    errors = []
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given):
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            known = f"did you mean {close[0]}?" if close else f"known are {', '.join(fields) or 'none'}"
            errors.append(FieldError(parameter=name, detail=f"is no {what} here; {known}"))
            continue
        found = given.getall(name)
        several = "tuple" in str(fields[name].annotation)
        if len(found) > 1 and not several:
            errors.append(FieldError(parameter=name, detail="is given more than once"))
        values[name] = found if several else found[0]
    made = None
    if model is not None:
        try:
            made = model.model_validate(values)
        except ValidationError as error:
            errors += [FieldError(parameter=str(one["loc"][0]), detail=_said(one)) for one in error.errors()]
    if errors:
        raise Problem("invalid-parameters", _count(errors, what), errors)
    return made


def _headers(model: type[BaseModel], request: web.Request) -> BaseModel:
    names = [field.alias or name for name, field in model.model_fields.items()]
    try:
        return model.model_validate({name: request.headers[name] for name in names if name in request.headers})
    except ValidationError as error:
        errors = [FieldError(parameter=str(one["loc"][0]), detail=_said(one)) for one in error.errors()]
        raise Problem("invalid-parameters", _count(errors, "header"), errors) from None


async def _body(body: Body, adapters: Mapping[str, TypeAdapter[Any]], request: web.Request) -> Any:
    accepted = {"Accept": ", ".join(body.media)}
    if not request.can_read_body and not body.needed:
        return None
    media = request.content_type if "Content-Type" in request.headers else ""
    if media not in body.media:
        raise Problem(
            "unsupported-media-type",
            f"The content type is {media or 'missing'}; send {' or '.join(body.media)}.",
            headers=accepted,
        )
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem("unsupported-media-type", "The character set should be UTF-8 (RFC 8259).", headers=accepted)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", *_ENCODINGS):
        text = f"The content encoding should be {' or '.join(_ENCODINGS)}, or none."
        raise Problem("unsupported-media-type", text, headers={"Accept-Encoding": ", ".join(_ENCODINGS)})
    content = await _read(request)
    if body.raw:
        return Raw(content, media)
    try:
        return adapters[media].validate_python(parsed(content))
    except ValidationError as error:
        errors = [FieldError(pointer=pointer(one["loc"]), detail=_said(one)) for one in error.errors()]
        raise Problem("invalid-fields", _count(errors, "member"), errors) from None


async def _read(request: web.Request) -> bytes:
    # what is left unread of the request would be taken for the next one
    ends = {"Connection": "close"}
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Problem("too-large", f"The body has more than {request.client_max_size} bytes.", headers=ends) from None
    except ConnectionError:
        raise Problem("invalid-body", "The connection ended in the middle of the body.", headers=ends) from None
    except web.RequestPayloadError:
        text = "The body does not agree with its Content-Encoding or Transfer-Encoding."
        raise Problem("invalid-body", text, headers=ends) from None


def parsed(content: bytes, line: int = 1) -> Any:
    """The JSON in `content`, which begins in that line of the body."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        text = f"The body is not JSON: line {line + error.lineno - 1}, column {error.colno}: {error.msg}"
        raise Problem("invalid-body", text) from None


def pointer(location: Sequence[int | str]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def _count(errors: Sequence[FieldError], what: str) -> str:
    return f"{len(errors)} {what}s cannot be used." if len(errors) > 1 else f"A {what} cannot be used."


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "unexpected_keyword_argument": "is not known here",
    "model_type": "should be an object",
    "dataclass_type": "should be an object",
}


def _said(error: Any) -> str:
    """What pydantic says, in words that fit after the name of what is wrong."""
    text = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
    return _WORDS.get(error["type"], text)


def note(error: Exception, name: str) -> None:
    """Never the error's own text: it may quote what the caller sent."""
    kind = error.kind if isinstance(error, Problem) else type(error).__name__
    if problem_of(error, 1).kind != "internal":
        logger.info("refused %s: %s", name, kind)
    else:
        logger.error("%s failed: %s\n%s", name, kind, "".join(traceback.format_tb(error.__traceback__)))


async def _stream(answer: Answer, pieces: AsyncIterator[str], request: web.Request) -> web.StreamResponse:
    """Whoever reads it sees that it is not whole if it breaks off: its last chunk is missing."""
    response = web.StreamResponse(status=answer.status, headers={"Cache-Control": "no-store", **answer.headers})
    response.content_type, response.charset = answer.media, "utf-8"
    await response.prepare(request)
    async for piece in pieces:
        await response.write(piece.encode())
    await response.write_eof()
    return response


def _response(answer: Answer, content: BaseModel | bytes | None) -> web.Response:
    body = content.model_dump_json(exclude_none=True).encode() if isinstance(content, BaseModel) else content
    headers = {"Cache-Control": "no-store", **answer.headers}
    if body is None:
        return web.Response(status=answer.status, headers=headers)
    charset = "utf-8" if answer.media.startswith("text/") else None
    return web.Response(status=answer.status, body=body, headers=headers, content_type=answer.media, charset=charset)
