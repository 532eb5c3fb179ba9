"""The pools: kept-alive connections to each provider, how many there may be, and how each provider is doing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from petitbleu import Attempt, Check, Deferred, Failed, Message, Outcome, Scope, Unknown

from .compose import Composer, Mail, MessageRefused
from .connection import ConnectFailed, Connection, open_connection
from .settings import EmailSettings, Provider
from .tokens import HEADER, Signer


@dataclass(slots=True)
class Trouble:
    """The last failure of a provider, until something goes well again."""

    at: float
    text: str


class Pool:
    """At most `connections` sessions with one provider. `now` counts seconds and is only compared with itself."""

    def __init__(
        self, name: str, provider: Provider, host_name: str, reply_length: int, now: Callable[[], float]
    ) -> None:
        self.name = name
        self.provider = provider
        self._host_name = host_name
        self._reply_length = reply_length
        self._now = now
        self._context = tls_context(provider)
        self._slots = asyncio.Semaphore(provider.connections)
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.trouble: Trouble | None = None
        self.used = False

    async def send(self, mail: Mail, attempt: Attempt) -> Outcome:
        await attempt.admit(self.name, mail.recipient.domain, self.provider.connections)
        if not self._slots.locked():
            await self._slots.acquire()
        else:
            try:
                async with asyncio.timeout(self.provider.timeouts.wait):
                    await self._slots.acquire()
            except TimeoutError:
                text = (
                    f"{self.name}: all {self.provider.connections} connections were busy for"
                    f" {self.provider.timeouts.wait:g} s"
                )
                return Deferred(self.name, text, Scope.PROVIDER)
        try:
            outcome = await self._send(mail, attempt)
        finally:
            self._slots.release()
        self._remember(outcome)
        return outcome

    async def _send(self, mail: Mail, attempt: Attempt) -> Outcome:
        outcome: Outcome | None = None
        # a kept connection that has ended meanwhile took nothing: the next one is tried, at last a new one
        while outcome is None:
            try:
                connection = self._kept() or await self._open()
            except ConnectFailed as failed:
                return failed.outcome
            try:
                outcome = await connection.deliver(mail, attempt)
            finally:
                self._give_back(connection)
        return outcome

    def _kept(self) -> Connection | None:
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _open(self) -> Connection:
        return await open_connection(self.name, self.provider, self._context, self._host_name, self._reply_length)

    def _give_back(self, connection: Connection) -> None:
        if connection.usable:
            timer = asyncio.get_running_loop().call_later(self.provider.idle, self._expire, connection)
            self._idle.append((connection, timer))
        else:
            self._quit(connection)

    def _expire(self, connection: Connection) -> None:
        self._idle = [kept for kept in self._idle if kept[0] is not connection]
        self._quit(connection)

    def _quit(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.quit())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _remember(self, outcome: Outcome) -> None:
        self.used = True
        own = isinstance(outcome, Unknown) or getattr(outcome, "scope", None) is Scope.PROVIDER
        self.trouble = Trouble(self._now(), outcome.text) if own else None

    async def probe(self) -> str:
        """A new session, opened and closed without a message; what it is like. Raises `ConnectFailed`."""
        connection = await self._open()
        try:
            return connection.description
        finally:
            await connection.quit()

    def check(self, memory: float) -> Check:
        """From what was seen last: nothing is sent to find out."""
        if self.trouble is not None and (ago := self._now() - self.trouble.at) < memory:
            return Check(self.name, False, f"{ago:.0f} s ago: {self.trouble.text}")
        return Check(self.name, True, "the last message went well" if self.used else "nothing sent yet")

    async def close(self) -> None:
        """QUIT on every kept connection, at the same time; each has `timeouts.quit` seconds."""
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            self._quit(connection)
        await asyncio.gather(*self._closing, return_exceptions=True)


class Mailer:
    """All pools and the composer: the plugin's state."""

    def __init__(self, settings: EmailSettings, pools: Mapping[str, Pool], signer: Signer | None = None) -> None:
        self.pools = pools
        self._default = settings.default or (next(iter(pools)),)
        self._signer = signer
        self._notify = "SUCCESS,FAILURE,DELAY" if settings.bounces and settings.bounces.success else "FAILURE,DELAY"
        self._composer = Composer(settings.max_size, settings.cached_files)

    async def deliver(self, message: Message, attempt: Attempt) -> Outcome:
        try:
            mail = self._composer.compose(message)
        except MessageRefused as refused:
            return Failed("", str(refused), Scope.MESSAGE)
        names = tuple(name.strip() for name in mail.provider.split(",")) if mail.provider else self._default
        if unknown := [name for name in names if name not in self.pools]:
            known = ", ".join(self.pools)
            text = f"the template names the provider {unknown[0]!r}; plugins.email.providers has {known}"
            return Deferred("", text, Scope.US)
        pool = self.pools[attempt.pick(names)]
        if self._signer is not None:
            token = self._signer.sign(message.event, attempt.number, pool.name)
            mail = replace(
                mail,
                sender=self._signer.return_path(token),
                content=b"%s: %s\r\n%s" % (HEADER.encode(), token.encode(), mail.content),
                envelope_id=token,
                notify=self._notify,
            )
        return await pool.send(mail, attempt)


@asynccontextmanager
async def open_mailer(settings: EmailSettings, signer: Signer | None = None) -> AsyncIterator[Mailer]:
    """No connection is made before the first message. With a signer every message has a return path of its own."""
    loop = asyncio.get_running_loop()
    host_name = socket.gethostname()
    pools = {
        name: Pool(name, provider, host_name, settings.reply_length, loop.time)
        for name, provider in settings.providers.items()
    }
    try:
        yield Mailer(settings, pools, signer)
    finally:
        await asyncio.gather(*(pool.close() for pool in pools.values()))


def tls_context(provider: Provider) -> ssl.SSLContext | None:
    """Certificate and host name are verified, always."""
    if provider.security == "plain":
        return None
    context = ssl.create_default_context(cafile=None if provider.ca_file is None else str(provider.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
