"""One open database: connection, clock, transactions, statements."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.context import TortoiseContext, get_current_context
from tortoise.exceptions import BaseORMException, OperationalError
from tortoise.transactions import in_transaction

from ..errors import Unavailable
from .epoch import Guard
from .errors import CommitUnknown, StepUndone, StoreError
from .postgres import alone, broken_off, credentials, lost
from .queries import REPEATABLE, Dialect, Queries
from .vault import Vault

logger = logging.getLogger("petitbleu.database")

T = TypeVar("T")
APP = "petitbleu"
MOST_ROWS = 1000
"""Of one statement on SQLite, which allows 32,766 parameters."""
_PATIENT = 3_600_000
"""Milliseconds that a process may wait for another's long transaction on SQLite when it has nothing else to do."""


class Store:
    """An open database. Made by `open_store`."""

    def __init__(self, context: TortoiseContext, dialect: Dialect, shift: int, address: Mapping[str, Any]) -> None:
        self._context = context
        self._address = address
        self.dialect = dialect
        self.queries = Queries(dialect, shift)
        # SQLite's clock is this machine's and is set with it; PostgreSQL's must not be taken to be set with ours
        self._clock = time.time_ns if dialect == "sqlite" else time.monotonic_ns
        self._skew = 0
        self._secret = b""
        self.vault = Vault()
        """Seals what callers sent."""

    @property
    def connection(self) -> BaseDBAsyncClient:
        return self._context.db()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Gives a connection whose statements commit together.

        Raises `CommitUnknown` when nothing tells whether they did; after any other error they did not.
        """
        complete = False
        try:
            with self._at_hand():
                async with in_transaction(self._context.default_connection) as connection:
                    yield connection
                    complete = True
        except Exception as error:
            if complete and self.dialect == "postgres" and (lost(error) or isinstance(error, TimeoutError)):
                raise CommitUnknown from error
            raise

    def _at_hand(self) -> AbstractContextManager[Any]:
        """Tortoise looks for connections in what the running task has from the one that opened the store; another task
        may have those of another store, or none."""
        if get_current_context() is self._context:
            return contextlib.nullcontext()
        return copy.copy(self._context)  # which keeps what was there before

    @asynccontextmanager
    async def tried(self, on: BaseDBAsyncClient, patience: float) -> AsyncIterator[None]:
        """A part of the transaction `on` that may fail by itself: then it is undone, `StepUndone` says why, and the
        rest of the transaction is as it was. On PostgreSQL rows that others hold are waited for `patience` seconds."""
        await on.execute_query("SAVEPOINT tried")
        try:
            if self.dialect == "postgres":
                await on.execute_query(f"SET LOCAL lock_timeout = {int(patience * 1000)}")
            yield
        except Exception as error:
            # fails where the connection is lost, and with it everything
            await on.execute_query("ROLLBACK TO SAVEPOINT tried")
            raise StepUndone(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def joined(self, on: Any = None) -> AsyncIterator[Any]:
        """The transaction `on`, or one of its own."""
        if on is not None:
            yield on
            return
        async with self.transaction() as transaction:
            yield transaction

    async def again(self, work: Callable[[], Awaitable[T]], *, twice: bool = True, patience: float = 0.0) -> T:
        """The result of `work`, started afresh if its connection was lost: at once, then for `patience` seconds. On
        SQLite, where a file may be locked or its disk full, only for `patience`.

        `twice` says that it may take effect twice; otherwise `CommitUnknown` ends it. Raises `Unavailable`.
        """
        if self.dialect == "sqlite" and not patience:
            return await work()
        clock = asyncio.get_running_loop().time
        end, pause = clock() + patience, 0.0
        doubtful = False
        while True:
            try:
                return await work()
            except Exception as error:
                if not (self._passing(error) or (twice and isinstance(error, CommitUnknown))):
                    raise
                # what an earlier try may have done is not undone by a later one that did not even begin
                doubtful = doubtful or isinstance(error, CommitUnknown)
                if pause and clock() + pause > end:
                    if doubtful:
                        raise CommitUnknown from error
                    raise Unavailable(f"the database cannot be reached: {type(error).__name__}: {error}") from error
            if self.dialect == "postgres":
                # the others of the pool are likely to be as dead
                await self._context.db()._expire_connections()  # type: ignore[attr-defined]
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0) or 0.05

    def _passing(self, error: Exception) -> bool:
        if self.dialect == "postgres":
            return lost(error)
        return isinstance(error, OperationalError | sqlite3.OperationalError)

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[BaseDBAsyncClient]:
        """A connection of its own to the same database, for the running loop, which may be another thread's."""
        one = {"minsize": 1, "maxsize": 1} if self.dialect == "postgres" else {}
        client: BaseDBAsyncClient = import_module(self._address["engine"]).client_class(
            connection_name="apart", **self._address["credentials"] | one
        )
        await client.create_connection(with_db=True)
        try:
            yield client
        finally:
            await client.close()

    async def listener(self) -> asyncpg.Connection:
        """A connection to PostgreSQL beside the pool, without Tortoise; whoever asked for it ends it."""
        return await asyncpg.connect(**alone(self._address["credentials"]))

    async def rows(self, query: str, *values: Any, on: BaseDBAsyncClient | None = None) -> Sequence[Mapping[str, Any]]:
        """Run a named query with its parameters, among them at most one list of mappings: its rows.

        Alone and where `REPEATABLE` has it, it is run once more if the connection was lost.
        """
        if self.dialect == "sqlite" and (more := _beyond(values)):
            first, rest = more
            return [*await self.rows(query, *first, on=on), *await self.rows(query, *rest, on=on)]
        statement, parameters = self.queries.bind(query, values)

        def run() -> Awaitable[Sequence[Mapping[str, Any]]]:
            return self._run(on or self.connection, statement, parameters)

        return await (self.again(run) if on is None and query in REPEATABLE else run())

    async def write(
        self, statement: str, parameters: list[Any], on: BaseDBAsyncClient | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Run one statement that is its own transaction, or part of `on`.

        Raises `CommitUnknown` when the connection was lost before anything told whether it took effect.
        """
        try:
            return await self._run(on or self.connection, statement, parameters)
        except Exception as error:
            if on is None and (broken_off(error) or isinstance(error, TimeoutError)):
                raise CommitUnknown from error
            raise

    async def _run(
        self, connection: BaseDBAsyncClient, statement: str, parameters: list[Any]
    ) -> Sequence[Mapping[str, Any]]:
        if self.dialect == "sqlite":
            return await connection.execute_query_dict(statement, parameters)
        # past Tortoise, which makes a dictionary of every row
        async with connection.acquire_connection() as held:
            found: Sequence[Mapping[str, Any]] = await held.fetch(statement, *parameters)
            return found

    async def change(self, query: str, *values: Any, on: BaseDBAsyncClient) -> int:
        """Run a named query that gives no rows, as `rows` does; how many it changed."""
        if self.dialect == "sqlite" and (more := _beyond(values)):
            first, rest = more
            return await self.change(query, *first, on=on) + await self.change(query, *rest, on=on)
        changed, _ = await on.execute_query(*self.queries.bind(query, values))
        return changed

    async def read(self, sql: str, values: Sequence[Any], on: BaseDBAsyncClient | None = None) -> list[dict[str, Any]]:
        """Run a reading statement composed elsewhere, its parameters written as `?`."""
        if self.dialect == "postgres":
            pieces = sql.split("?")
            sql = pieces[0] + "".join(f"${number}{piece}" for number, piece in enumerate(pieces[1:], 1))
        if on is not None:
            return await on.execute_query_dict(sql, list(values))
        return await self.again(lambda: self.connection.execute_query_dict(sql, list(values)))

    async def secret(self) -> bytes:
        """Random bytes that only this database has, made when they are first asked for."""
        if not self._secret:
            made = secrets.token_hex(32)
            await self.rows("make_secret", made)
            (row,) = await self.read("SELECT value FROM installation WHERE name = ?", ["secret"])
            self._secret = bytes.fromhex(row["value"])
        return self._secret

    def now(self) -> int:
        """The database's clock in microseconds, as last compared with ours."""
        return self._clock() // 1000 + self._skew

    async def compare_clocks(self) -> None:
        before = self._clock() // 1000
        theirs = int((await self.rows("now"))[0]["now"])
        after = self._clock() // 1000
        # within the round trip and the millisecond that SQLite's clock counts in, both clocks agree
        self._skew = 0 if before - 1000 <= theirs <= after else theirs - (before + after) // 2

    async def shift_clock(self, seconds: float) -> None:
        """Let the database's clock run `seconds` further ahead. For tests and rehearsals; never stored."""
        more = int(seconds * 1_000_000)
        self.queries = Queries(self.dialect, self.queries.shift + more)
        # comparing anew could set `now` back by as much as that is inexact
        self._skew += more

    async def check_durability(self, relaxed: bool) -> None:
        """Refuse a database that could forget what it acknowledged, unless the configuration says so in words."""
        if relaxed:
            return
        if self.dialect == "sqlite":
            level = (await self.connection.execute_query_dict("PRAGMA synchronous"))[0]["synchronous"]
            journal = (await self.connection.execute_query_dict("PRAGMA journal_mode"))[0]["journal_mode"]
            bad = [] if level >= 2 else [f"synchronous={level}"]
            # a crash in the middle of a transaction spoils the file where no journal outlives it
            bad += [f"journal_mode={journal}"] if journal in ("off", "memory") else []
        else:
            settings = await self.connection.execute_query_dict(
                "SELECT name, setting FROM pg_settings "
                "WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
            )
            bad = [f"{row['name']}={row['setting']}" for row in settings if row["setting"] == "off"]
        if bad:
            raise StoreError(
                f"the database may lose acknowledged events ({', '.join(bad)}); correct it, or write "
                "`durability: relaxed` in the configuration to accept the loss"
            )


def _beyond(values: Sequence[Any]) -> tuple[list[Any], list[Any]] | None:
    """The parameters in two parts, where there are more rows than a statement of SQLite should hold."""
    for at, value in enumerate(values):
        if isinstance(value, list) and len(value) > MOST_ROWS:
            before, after = values[:at], values[at + 1 :]
            return [*before, value[:MOST_ROWS], *after], [*before, value[MOST_ROWS:], *after]
    return None


def app_config(dialect: Dialect) -> dict[str, Any]:
    """The connection is called by its dialect, since Tortoise keeps statements by a connection's name."""
    return {
        "models": ["petitbleu.store.models"],
        "default_connection": dialect,
        "migrations": "petitbleu.store.migrations",
    }


@asynccontextmanager
async def open_store(
    url: str, *, shift: int = 0, patient: bool = False, guard: Guard | None = None
) -> AsyncIterator[Store]:
    """Open the database behind `url` (`sqlite://path` or `postgres://…`) and close it at the end.

    `patient` lifts the limit on how long a statement may take, or wait, which altering a large table can exceed.
    `guard` sees every new connection to PostgreSQL first.
    """
    scheme, _, rest = url.partition("://")
    address: dict[str, Any]
    if scheme == "sqlite":
        file = Path(rest.partition("?")[0])
        if "#" in str(file):
            raise StoreError(f"database: the path {file} may have no #, where it would end")
        try:
            await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the database's folder {file.parent} cannot be made: {error.strerror}") from None
        if "busy_timeout" not in rest:
            url += ("&" if "?" in rest else "?") + f"busy_timeout={_PATIENT if patient else 5000}"
        dialect: Dialect = "sqlite"
        address = expand_db_url(url) | {"engine": "petitbleu.store.sqlite_client"}
    elif scheme in ("postgres", "postgresql", "asyncpg"):
        dialect = "postgres"
        address = {
            "engine": "petitbleu.store.asyncpg_client",
            "credentials": credentials(url)
            | ({"command_timeout": None} if patient else {})
            | ({"init": guard} if guard is not None else {}),
        }
    else:
        raise StoreError(f"database {scheme}:// is not known; use sqlite:// or postgres://")
    context = TortoiseContext()
    context.__enter__()
    try:
        await context.init(
            config={"connections": {dialect: address}, "apps": {APP: app_config(dialect)}, "use_tz": True},
            init_connections=True,
        )
        store = Store(context, dialect, shift, address)
        try:
            await store.compare_clocks()
        except (BaseORMException, OSError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreError(f"the database cannot be opened: {error or type(error).__name__}") from error
        except Unavailable as error:
            raise StoreError(f"the database cannot be opened: {error.__cause__}") from error
        yield store
    finally:
        await context.close_connections()
        # whoever closes may be another task than the one that opened, and that one's context is gone anyway
        with contextlib.suppress(ValueError):
            context.__exit__(None, None, None)
