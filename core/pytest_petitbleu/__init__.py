"""Fixtures for tests of Petitbleu's plugins. pytest loads this module wherever Petitbleu is installed, so it imports
nothing of it before a test asks for a fixture.

Set `PETITBLEU_TEST_POSTGRES` to `postgres://USER:PASSWORD@HOST/postgres`, a login that may make databases, and servers
run on PostgreSQL rather than on SQLite.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pytest

if TYPE_CHECKING:
    from petitbleu.testing import RecordingChannel, RecordingObserver, Server
    from petitbleu.testing.databases import PostgresDatabases

pytest.register_assert_rewrite("petitbleu.testing")

T = TypeVar("T")
POSTGRES = "PETITBLEU_TEST_POSTGRES"
Serve: TypeAlias = "Callable[..., AbstractAsyncContextManager[Server]]"


@pytest.fixture(scope="session")
def petitbleu_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with Petitbleu's tables and nothing in them, to be copied."""
    from petitbleu.testing.databases import make_tables

    file = tmp_path_factory.mktemp("petitbleu") / "empty.db"
    _now(make_tables(f"sqlite://{file}"))
    return file


@pytest.fixture(scope="session")
def petitbleu_postgres_databases() -> Iterator[PostgresDatabases]:
    """Such databases on the server that `PETITBLEU_TEST_POSTGRES` names."""
    from petitbleu.testing.databases import PostgresDatabases, drop_postgres, make_postgres, make_tables

    server = os.environ[POSTGRES]
    model = _now(make_postgres(server))
    _now(make_tables(model))
    databases = PostgresDatabases(server, model)
    yield databases
    _now(databases.close())
    _now(drop_postgres(server, model))


@pytest.fixture
def petitbleu_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database that only this test has."""
    from petitbleu.testing.databases import copy_sqlite

    if not os.environ.get(POSTGRES):
        yield copy_sqlite(request.getfixturevalue("petitbleu_model"), tmp_path / "petitbleu.db")
        return
    databases = request.getfixturevalue("petitbleu_postgres_databases")
    url = _now(databases.take())
    yield url
    _now(databases.give_back(url))


@pytest.fixture
def petitbleu_server(petitbleu_database: str, tmp_path: Path) -> Serve:
    """`petitbleu.testing.serving` with a folder and a database already given:

    async with petitbleu_server(plugins={"soap_ingest": {}}, modules={"recorder": channel}) as server: …
    """
    from petitbleu.testing import serving

    return partial(serving, tmp_path / "instance", database=petitbleu_database)


@pytest.fixture
def petitbleu_channel() -> RecordingChannel:
    """A channel named `record` that keeps its messages; give it to a server among `modules`."""
    from petitbleu.testing import RecordingChannel

    return RecordingChannel()


@pytest.fixture
def petitbleu_observer() -> RecordingObserver:
    """A plugin that keeps what observers are told; give it to a server among `modules`."""
    from petitbleu.testing import RecordingObserver

    return RecordingObserver()


def _now(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, in a thread, since the test's own loop may be about."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
