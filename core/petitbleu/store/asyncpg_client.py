"""Tortoise's client for asyncpg, whose transactions survive the loss of their connection.

Tortoise's own keep the pool's place and leave the task inside the transaction when BEGIN fails, as it does on every
connection that the server has closed meanwhile. Tortoise finds its schema editor by this module's name.
"""

from __future__ import annotations

from typing import Any

from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import TransactionalDBClient, TransactionContext, TransactionContextPooled
from tortoise.connection import get_connections
from tortoise.exceptions import TransactionManagementError


class _Transaction(TransactionContextPooled):
    __slots__ = ()

    async def __aenter__(self) -> TransactionalDBClient:
        try:
            return await super().__aenter__()
        except BaseException:
            if hasattr(self, "token"):
                await self._leave(broken=True)
            raise

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        broken = True
        try:
            if not self.client._finalized and not isinstance(error, TransactionManagementError):
                await (self.client.commit() if error is None else self.client.rollback())
            broken = False
        finally:
            await self._leave(broken)

    async def _leave(self, broken: bool) -> None:
        get_connections().reset(self.token)
        if broken:
            # in whatever state it is; the server rolls back, and the pool opens another
            self.client._connection.terminate()
        await self.client._parent._pool.release(self.client._connection)


class AsyncpgClient(AsyncpgDBClient):
    def _in_transaction(self) -> TransactionContext:
        return _Transaction(TransactionWrapper(self), self._pool_init_lock)


client_class = AsyncpgClient
