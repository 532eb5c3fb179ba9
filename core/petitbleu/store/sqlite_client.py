"""Tortoise's client for SQLite, whose transactions begin with the right to write and survive being refused it.

Tortoise's own begin without: one that reads first and then writes fails at once when another process has written
between. They also commit whenever a script is run in them, and keep everybody waiting for good if they cannot begin.
Tortoise finds its schema editor by this module's name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from tortoise.backends.base.client import NestedTransactionContext, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import OperationalError


class _Wrapper(SqliteTransactionWrapper):
    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(_Wrapper(self))

    async def begin(self) -> None:
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error

    async def execute_script(self, query: str) -> None:
        for statement in statements(query):
            await self.execute_query(statement)


class _Transaction(SqliteTransactionContext):
    __slots__ = ()

    async def __aenter__(self) -> TransactionalDBClient:
        await self._trxlock.acquire()
        try:
            await self.ensure_connection()
            await self.connection.begin()
            self.token = get_connections().set(self.connection_name, self.connection)
        except BaseException:
            self._trxlock.release()
            raise
        entered: TransactionalDBClient = self.connection
        return entered


class File(SqliteClient):
    def _in_transaction(self) -> TransactionContext:
        return _Transaction(_Wrapper(self), self._lock)


def statements(script: str) -> Iterator[str]:
    """Those of a script one by one, as SQLite itself tells where one ends."""
    begun = ""
    for piece in script.split(";"):
        begun += piece + ";"
        if sqlite3.complete_statement(begun):
            if begun.strip(" \t\r\n;"):
                yield begun.strip()
            begun = ""


client_class = File
