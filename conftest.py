"""Fixtures for every test of this repository, and the closing report on real parts."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
from petitbleu.testing.databases import PostgresDatabases, copy_sqlite, drop_postgres, make_postgres, make_tables
from postgres_server import PostgresServer, postgres_server
from warm_starts import warm_starts

# how fast a machine is decides about no test
hypothesis.settings.register_profile("ours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ours")

_PACKAGES = {
    "aiosmpplib": "aiosmpplib",
    "aiosmtpd": "aiosmtpd",
    "fast_mail_parser": "fast-mail-parser",
    "pywebpush": "pywebpush",
    "standardwebhooks": "standardwebhooks",
    "zeep": "zeep",
}
"""Foreign parts that are Python packages: whoever imported them used them."""
_LONG = (
    "test_faults.py",
    "test_plugin_packages.py",
    "test_processes.py",
    "test_providers.py",
    "test_tutorial.py",
    "test_packaging.py",
    "test_rest_openapi.py",
    "test_migrations.py",
)
"""In this order."""
_KEPT = "petitbleu/real_parts"
_PARTS: pytest.StashKey[RealParts] = pytest.StashKey()


class RealParts:
    """Which servers and clients that nobody here wrote took part in this run, and which were not to be had."""

    def __init__(self) -> None:
        self._used: dict[str, str] = {}
        self._lacked: dict[str, str] = {}

    def used(self, name: str, version: str) -> None:
        self._used[name] = version

    def lacked(self, name: str, instead: str) -> None:
        """`instead` says what the tests ran against."""
        self._lacked[name] = instead

    def known(self) -> dict[str, dict[str, str]]:
        return {"used": self._used, "lacked": self._lacked}

    def merge(self, known: dict[str, dict[str, str]]) -> None:
        self._used.update(known.get("used", {}))
        self._lacked.update(known.get("lacked", {}))

    def lines(self) -> Iterator[str]:
        for name, version in sorted(self._used.items()):
            yield f"used    {name} {version}".rstrip()
        for name, instead in sorted(self._lacked.items()):
            yield f"lacked  {name}; {instead}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--and-before", action="store_true", help="report the real parts of the run before this one too")


def pytest_configure(config: pytest.Config) -> None:
    # nobody out there is talked to, and each start reads the system's 140 roots several times, a tenth of a second
    os.environ["SSL_CERT_FILE"] = os.devnull
    running = ExitStack()
    running.enter_context(warm_starts())
    config.add_cleanup(running.close)
    config.stash[_PARTS] = RealParts()
    if config.getoption("--and-before"):
        assert config.cache is not None
        config.stash[_PARTS].merge(config.cache.get(_KEPT, {}))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays, and need not be looked through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules whose few tests take long come first: no process shall be left with one while the others are done."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of the processes that share the tests has ended: what it used, the run used."""
    node.config.stash[_PARTS].merge(getattr(node, "workeroutput", {}).get("real_parts", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["real_parts"] = _with_packages(session.config.stash[_PARTS]).known()


@pytest.fixture(scope="session")
def real_parts(pytestconfig: pytest.Config) -> RealParts:
    return pytestconfig.stash[_PARTS]


@pytest.fixture
def sqlite_url(petitbleu_model: Path, tmp_path: Path) -> str:
    """A database of its own for one test, with its tables."""
    return copy_sqlite(petitbleu_model, tmp_path / "test.db")


@pytest.fixture(scope="session")
def postgres(real_parts: RealParts) -> Iterator[PostgresServer]:
    """A server, started when the first test asks for it. Without one these tests fail, and say how to get one."""

    async def version(url: str) -> str:
        connection = await asyncpg.connect(url)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    with postgres_server() as server:
        real_parts.used("PostgreSQL", f"{asyncio.run(version(server.url))}, {server.origin}")
        yield server


@pytest.fixture(scope="session")
def petitbleu_postgres_databases(postgres: PostgresServer) -> Iterator[PostgresDatabases]:
    """Those with tables and nothing in them."""
    url = asyncio.run(make_postgres(postgres.url))
    asyncio.run(make_tables(url))
    databases = PostgresDatabases(postgres.url, url)
    yield databases
    asyncio.run(databases.close())
    asyncio.run(drop_postgres(postgres.url, url))


@pytest.fixture
async def empty_postgres_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database without tables."""
    url = await make_postgres(postgres.url)
    yield url
    await drop_postgres(postgres.url, url)


@pytest.fixture
async def postgres_url(petitbleu_postgres_databases: PostgresDatabases) -> AsyncIterator[str]:
    """A database of its own for one test, with its tables."""
    url = await petitbleu_postgres_databases.take()
    yield url
    await petitbleu_postgres_databases.give_back(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """As `sqlite_url` and as `postgres_url`, one after the other."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables: an SQLite file that is not there yet, then one of PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/empty.db"
    return str(request.getfixturevalue("empty_postgres_url"))


def _with_packages(parts: RealParts) -> RealParts:
    for module, package in _PACKAGES.items():
        if module in sys.modules:
            parts.used(package, metadata.version(package))
    return parts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    parts = _with_packages(config.stash[_PARTS])
    assert config.cache is not None
    config.cache.set(_KEPT, parts.known())
    packages = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == "package"
    ]
    if packages:
        terminalreporter.section("packages with tests of their own")
        for line in sorted(packages):
            terminalreporter.write_line(line)
    lines = list(parts.lines())
    if lines:
        terminalreporter.section("real parts")
        for line in lines:
            terminalreporter.write_line(line)
