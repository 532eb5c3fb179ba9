"""Operators, their sessions, and the tokens of programs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from petitbleu import ApiToken, OpenSession
from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema

from .installation import NARROW
from .listing import Sized
from .operation import JSON, Answer, Body, Call, Given, Operation, Success, Told

TAG = "Operators"
OPERATORS, SESSIONS, TOKENS = "/api/v1/operators", "/api/v1/sessions", "/api/v1/tokens"


class Operator(Told):
    """An operator of the configuration."""

    login: str
    rights: tuple[str, ...]
    event_types: tuple[str, ...] | None = Field(None, description="All that the rights reach; missing: no limit.")
    brands: tuple[str, ...] | None = Field(None, description="All that the rights reach; missing: no limit.")
    sessions: int = Field(description="How many are open.")


class Operators(Told):
    """Who may do what."""

    operators: tuple[Operator, ...]


class Session(Told):
    """A session that holds."""

    id: str
    login: str
    address: str | None = Field(None, description="From where it was opened.")
    created: datetime
    expires: datetime


class Sessions(Told):
    """Open sessions, the latest first."""

    sessions: tuple[Session, ...]


class SignedOut(Told):
    """What signing an operator out everywhere has ended."""

    login: str
    sessions: int


class Token(Told):
    """A token of a program, without the token itself."""

    id: str
    login: str = Field(description="The operator in whose name it calls.")
    name: str
    start: str = Field(description="Its first characters.")
    rights: tuple[str, ...]
    event_types: tuple[str, ...] | None = Field(None, description="Only these; missing: all of its operator's.")
    brands: tuple[str, ...] | None = Field(None, description="Only these; missing: all of its operator's.")
    created: datetime
    created_by: str
    expires: datetime | None = Field(None, description="Missing: never.")
    revoked: datetime | None = None
    used: datetime | None = Field(None, description="When it was last used, to within some minutes.")
    state: Literal["valid", "expired", "revoked"]


class Tokens(Told):
    """Tokens, the latest first."""

    tokens: tuple[Token, ...]


class MadeToken(Token):
    """A token that was just made."""

    token: str = Field(description="The token itself, which is told this once.")


class OperatorPath(Given):
    login: str = Field(max_length=128, description="The operator's login.")


class SessionPath(Given):
    session: str = Field(max_length=64, description="The session's id.")


def _number(text: str) -> str:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("should be the number of a token")
    return text


TokenId = Annotated[str, AfterValidator(_number), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}$"})]


class TokenPath(Given):
    token: TokenId = Field(description="The token's id.")


class SessionsQuery(Sized):
    login: str = Field("", max_length=128, description="Only those of this operator.")


class TokensQuery(Given):
    login: str = Field("", max_length=128, description="Only those for this operator.")
    all: bool = Field(False, description="Also those that are revoked or have expired.")


class NewToken(Given):
    """What a token is for, and what it may."""

    login: str = Field(max_length=128, description="The operator in whose name it calls.")
    name: str = Field(max_length=128, description="What it is for, such as the name of the calling system.")
    rights: tuple[str, ...] | None = Field(None, max_length=20, description="Without them, those of the operator.")
    event_types: tuple[str, ...] | None = Field(None, max_length=1000, description="Only these event types.")
    brands: tuple[str, ...] | None = Field(None, max_length=1000, description="Only these brands.")
    expires: AwareDatetime | None = Field(None, description="When it holds no more; without it, never.")


async def list_operators(call: Call) -> Answer:
    found = await call.door.services.desk.installation.operators(call.operator)
    operators = tuple(
        Operator(
            login=one.login,
            rights=tuple(one.rights),
            event_types=_some(one.event_types),
            brands=_some(one.brands),
            sessions=one.sessions,
        )
        for one in found
    )
    return Answer(200, Operators(operators=operators))


async def sign_out(call: Call, path: OperatorPath) -> Answer:
    ended = await call.door.services.desk.installation.end_sessions(path.login, call.actor)
    return Answer(200, SignedOut(login=path.login, sessions=ended))


async def list_sessions(call: Call, query: SessionsQuery) -> Answer:
    found = await call.door.services.desk.installation.sessions(call.operator, query.rows(call), query.login)
    return Answer(200, Sessions(sessions=tuple(map(_session, found))))


async def end_session(call: Call, path: SessionPath) -> Answer:
    return Answer(200, _session(await call.door.services.desk.installation.end_session(path.session, call.actor)))


async def list_tokens(call: Call, query: TokensQuery) -> Answer:
    found = await call.door.services.desk.installation.tokens(call.operator, query.login, everything=query.all)
    return Answer(200, Tokens(tokens=tuple(_token(call, one) for one in found)))


async def create_token(call: Call, body: NewToken) -> Answer:
    made = await call.door.services.desk.installation.create_token(
        body.login,
        body.name,
        call.actor,
        rights=body.rights,
        event_types=body.event_types,
        brands=body.brands,
        expires=body.expires,
    )
    return Answer(201, MadeToken(**dict(_token(call, made.known)), token=made.token))


async def revoke_token(call: Call, path: TokenPath) -> Answer:
    revoked = await call.door.services.desk.installation.revoke_token(int(path.token), call.actor)
    return Answer(200, _token(call, revoked))


def _session(one: OpenSession) -> Session:
    return Session(id=one.id, login=one.login, address=one.address or None, created=one.created, expires=one.expires)


def _token(call: Call, one: ApiToken) -> Token:
    return Token(
        id=str(one.id),
        login=one.login,
        name=one.name,
        start=one.start,
        rights=tuple(sorted(one.rights)),
        event_types=_some(one.event_types),
        brands=_some(one.brands),
        created=one.created,
        created_by=one.created_by,
        expires=one.expires,
        revoked=one.revoked,
        used=one.used,
        state=one.state(call.door.services.now()),
    )


def _some(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(names))


OPERATIONS = (
    Operation(
        method="GET",
        path=OPERATORS,
        name="listOperators",
        summary="Who may do what",
        text=NARROW,
        tag=TAG,
        right="admin",
        run=list_operators,
        answers={200: Success("Every operator of the configuration.", Operators)},
    ),
    Operation(
        method="POST",
        path=f"{OPERATORS}/{{login}}/sign-out",
        name="signOutOperator",
        summary="End all sessions of an operator",
        text=f"Other processes follow within `sessions.cache`. {NARROW}",
        tag=TAG,
        right="admin",
        run=sign_out,
        parameters=OperatorPath,
        answers={200: Success("They are ended.", SignedOut)},
    ),
    Operation(
        method="GET",
        path=SESSIONS,
        name="listSessions",
        summary="Open sessions, the latest first",
        text=NARROW,
        tag=TAG,
        right="admin",
        run=list_sessions,
        query=SessionsQuery,
        answers={200: Success("Those that hold.", Sessions)},
    ),
    Operation(
        method="POST",
        path=f"{SESSIONS}/{{session}}/end",
        name="endSession",
        summary="End a session",
        text=f"Other processes follow within `sessions.cache`. {NARROW}",
        tag=TAG,
        right="admin",
        run=end_session,
        parameters=SessionPath,
        answers={200: Success("It is ended.", Session)},
    ),
    Operation(
        method="GET",
        path=TOKENS,
        name="listTokens",
        summary="Tokens of programs, the latest first",
        text=NARROW,
        tag=TAG,
        right="admin",
        run=list_tokens,
        query=TokensQuery,
        answers={200: Success("Those that are valid, or all.", Tokens)},
    ),
    Operation(
        method="POST",
        path=TOKENS,
        name="createToken",
        summary="Make a token for a program",
        text=f"With all or some of its operator's rights. {NARROW}",
        tag=TAG,
        right="admin",
        run=create_token,
        body=Body({JSON: NewToken}),
        answers={
            201: Success(
                "The token, told this once.",
                MadeToken,
                links={"revokeToken": {"token": "$response.body#/id"}},
            )
        },
    ),
    Operation(
        method="POST",
        path=f"{TOKENS}/{{token}}/revoke",
        name="revokeToken",
        summary="Let a token hold no more",
        text=f"For good; other processes follow within `sessions.cache`. {NARROW}",
        tag=TAG,
        right="admin",
        run=revoke_token,
        parameters=TokenPath,
        answers={200: Success("It is revoked.", Token)},
    ),
)
