"""What is PostgreSQL's alone: its address, its pool, and which errors mean that a connection was lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import asyncpg
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.exceptions import BaseORMException

from ..networks import is_host
from .errors import StoreError

MIGRATION_LOCK = 0x7065_7469_7462_6C75
"""Key of the advisory lock that whoever migrates holds: "petitblu" in ASCII."""
IDLE_IN_TRANSACTION = 60
"""Seconds. No transaction of ours waits for anything but the database, so one that idles has lost its process."""

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # also what asyncpg says of a connection whose end it has read of but not yet seen
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    # disk, memory or the places for connections are used up
    asyncpg.InsufficientResourcesError,
)


def lost(error: BaseException) -> bool:
    """The connection is gone or could not be had, or there was no room: what was not committed did not happen, and
    another try may do better.

    A time-out is no such error: the statement may still be under way, and would hardly be quicker a second time.
    """
    # asyncpg's DataError, a value it cannot send, is an InterfaceError too
    return isinstance(error, _LOST) and not isinstance(error, TimeoutError | ValueError)


_NOT_BEGUN = (
    # refused outright, mostly before a statement was sent: it cannot have taken effect
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    ConnectionRefusedError,
    FileNotFoundError,
)


def broken_off(error: BaseException) -> bool:
    """The connection was lost while a statement may have been under way."""
    return lost(error) and not isinstance(error, _NOT_BEGUN)


async def keep_as_it_is(connection: Any) -> None:
    """In place of asyncpg's reset of a connection that goes back to the pool, a round trip for each statement.

    Nothing of ours leaves a trace in a session: no setting, no session lock, no cursor, no LISTEN.
    """


def _sslmode(text: str) -> str:
    if text not in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"):
        raise ValueError
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or float(text) <= 0:
        raise ValueError
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError
    return int(text)


_PARAMETERS: Mapping[str, tuple[str, Callable[[str], Any], str]] = {
    "minsize": ("minsize", _count, "a number of connections"),
    "maxsize": ("maxsize", _count, "a number of connections"),
    "timeout": ("timeout", _seconds, "seconds"),
    "command_timeout": ("command_timeout", _seconds, "seconds"),
    "application_name": ("application_name", str, "text"),
    "host": ("host", str, "a directory with the server's socket"),
    "sslmode": ("ssl", _sslmode, "disable, allow, prefer, require, verify-ca or verify-full"),
    "statement_cache_size": ("statement_cache_size", _count, "a number of statements"),
}
"""Of the address: what Tortoise and asyncpg call it, how it is read, what it should be."""


def credentials(url: str) -> dict[str, Any]:
    """What Tortoise is to connect with. Raises `StoreError` for an address with parameters we do not know."""
    address, _, query = url.partition("?")
    given: dict[str, Any] = {"minsize": 1, "maxsize": 10, "timeout": 10.0, "command_timeout": 30.0}
    given["application_name"] = "petitbleu"
    given["reset"] = keep_as_it_is
    # with a ? in the password, what stands here is the rest of it, of which nothing may be told
    torn = StoreError("database: a ? in the password is written %3F, an @ after it %40") if "@" in query else None
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in _PARAMETERS:
            raise torn or StoreError(f"database: unknown parameter {name}; there are: {', '.join(sorted(_PARAMETERS))}")
        key, read, should = _PARAMETERS[name]
        try:
            given[key] = read(values[-1])
        except ValueError:
            raise torn or StoreError(f"database: {name}={values[-1]} should be {should}") from None
    if not 0 <= given["minsize"] <= given["maxsize"] or given["maxsize"] < 1:
        raise StoreError(f"database: minsize={given['minsize']} and maxsize={given['maxsize']} contradict each other")
    try:
        found: dict[str, Any] = expand_db_url("asyncpg://" + address.partition("://")[2])["credentials"]
    except (ValueError, BaseORMException):
        raise StoreError("database: should be postgres://USER:PASSWORD@HOST:PORT/DATABASE") from None
    host = str(found["host"] or "localhost")
    # a folder, for its socket, or several hosts are asyncpg's to read
    if "host" not in given and "," not in host and not is_host(host):
        raise StoreError(f"database: {host} is no host; should be postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    settings = {"idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION * 1000)}
    return {**found, **given, "server_settings": settings}


_ALONE = ("host", "port", "user", "password", "database", "ssl", "timeout", "command_timeout", "statement_cache_size")


def alone(found: Mapping[str, Any]) -> dict[str, Any]:
    """What asyncpg is to make a single connection with, out of `credentials`."""
    settings = {**found["server_settings"], "application_name": found["application_name"]}
    return {**{name: found[name] for name in _ALONE if name in found}, "server_settings": settings}
