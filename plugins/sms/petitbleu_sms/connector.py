"""The sessions with one SMSC: bound, kept bound, slowed down when the SMSC asks for it, and unbound at the end."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable

from .pdu import Pdu
from .session import Answer, NoAnswer, Session, SessionEnded
from .settings import Connector as ConnectorSettings
from .spec import INTERFACE_VERSION, Command, Status, status_name

logger = logging.getLogger("petitbleu.sms")

BINDS = {
    "transceiver": Command.BIND_TRANSCEIVER,
    "transmitter": Command.BIND_TRANSMITTER,
    "receiver": Command.BIND_RECEIVER,
}
THROTTLED = (Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL)
STEADY = 5.0
"""Seconds after which a session that ends is bound anew at once."""


class NoSession(Exception):
    """No session took the message: nothing was sent."""


class Connector:
    """Binds to one SMSC. `heard` is given what receiving sessions hear; `random` gives 0 to 1."""

    def __init__(
        self,
        name: str,
        settings: ConnectorSettings,
        heard: Callable[[Session, Pdu], None],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self._settings = settings
        self._heard = heard
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._context = tls_context(settings)
        self._sessions: list[Session] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._down = ""
        self._tried = 0.0
        self._hurry = asyncio.Event()
        self._places = float(settings.window)
        self._pause = 0.0
        self._paused_until = 0.0
        self._stopped = False
        self.throttled = 0
        """How often the SMSC asked to be given less."""

    @property
    def at_once(self) -> int:
        """Messages that it can be given at the same time by this process."""
        binds = self._settings.binds
        return self._settings.window * (binds.transceiver + binds.transmitter)

    @property
    def bound(self) -> int:
        return sum(session.usable for session in self._sessions)

    @property
    def wanted(self) -> int:
        """Sessions that it keeps, or tries to."""
        return len(self._keepers)

    @property
    def pause(self) -> float:
        """Seconds for which the SMSC is still given nothing, because it asked for less."""
        return max(0.0, self._paused_until - self._loop.time())

    @property
    def trouble(self) -> str:
        """Why there is no session to send by; "" where there is one, or none was tried yet."""
        return self._down

    def start(self, receivers: bool = True) -> None:
        """Begin to bind; nothing waits for it."""
        for kind, command in BINDS.items():
            for _ in range(getattr(self._settings.binds, kind) if receivers or kind != "receiver" else 0):
                self._keepers.append(asyncio.create_task(self._keep(command)))

    async def close(self) -> None:
        """Unbind every session, what is under way first."""
        self._stopped = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(self._part_with(session) for session in self._sessions))
        self._wake_all()

    async def _part_with(self, session: Session) -> None:
        await session.unbind(self._settings.timeouts.unbind)
        try:
            async with asyncio.timeout(1):
                await asyncio.shield(session.ended)
        except TimeoutError:
            session.abort("unbound")

    # -------------------------------------------------------------------------------------------------------- sending

    async def reserve(self, until: float, first: bool = False) -> Session:
        """A session with a place in its window, taken. `until` is a time of the loop's clock. Whoever is `first` does
        not stand behind those that wait. Raises `NoSession`."""
        queued, waited = first, False
        if not self._keepers:
            # a process that only sends a proof
            self.start(receivers=False)
        while True:
            if self._stopped:
                raise NoSession(f"{self.name}: it is being closed")
            session = self._roomy() if not self._waiters or queued else None
            if session is not None:
                session.reserve()
                return session
            if not self._bound_to_send() and self._down:
                if waited or not self._may_hurry():
                    raise NoSession(self._down)
                self._down = ""
                self._hurry.set()
            now = self._loop.time()
            if now >= until:
                raise NoSession(f"{self.name}: no session had a free place in time")
            # who was called in vain keeps the place in front
            await self._turn(until - now, queued)
            queued = waited = True

    async def submit(self, body: bytes, session: Session, until: float) -> Answer:
        """Send a `submit_sm` in a reserved place; where the SMSC is throttling, again and again `until` it takes it or
        that time comes. Raises `NoSession` when nothing was sent, `NoAnswer` when it was and no response came."""
        while True:
            try:
                future = session.submit(body)
            except SessionEnded as ended:
                try:
                    session = await self.reserve(until, first=True)
                except NoSession:
                    raise NoSession(f"{self.name}: {ended}") from None
                continue
            answer = await future
            if answer.status not in THROTTLED:
                if answer.status == Status.ESME_ROK:
                    self._taken()
                return answer
            self._throttle()
            if self._paused_until >= until:
                return answer
            try:
                session = await self.reserve(until, first=True)
            except NoSession:
                return answer

    def _bound_to_send(self) -> bool:
        return any(session.sends and session.usable for session in self._sessions)

    def _roomy(self) -> Session | None:
        """The session with the most free places, unless a pause or the SMSC's throttling stands against it."""
        now = self._loop.time() if self._paused_until else 0.0
        if self._paused_until > now:
            return None
        best = max((one for one in self._sessions if one.sends), key=lambda one: one.free, default=None)
        if best is None or best.free <= 0 or best.under_way >= int(self._places):
            return None
        return best

    async def _turn(self, seconds: float, front: bool) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        if front:
            self._waiters.appendleft(turn)
        else:
            self._waiters.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            return
        finally:
            if turn in self._waiters:
                self._waiters.remove(turn)
            elif turn.cancelled():
                self._wake()

    def _wake(self) -> None:
        """As many as there is room for now; who finds it taken waits on."""
        if not self._waiters or self._loop.time() < self._paused_until:
            return
        places = int(self._places)
        room = sum(max(0, min(one.free, places - one.under_way)) for one in self._sessions if one.sends)
        for _ in range(min(room, len(self._waiters))):
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _wake_all(self) -> None:
        for _ in range(len(self._waiters)):
            self._wake_one()

    # ----------------------------------------------------------------------------------------------------- throttling

    def _throttle(self) -> None:
        now = self._loop.time()
        self.throttled += 1
        # a whole window may have been refused by then: that is one refusal
        if now < self._paused_until:
            return
        throttle = self._settings.throttle
        self._places = max(1.0, self._places / 2)
        self._pause = min(throttle.cap, max(throttle.first, self._pause * 2))
        self._paused_until = now + self._pause
        self._loop.call_later(self._pause, self._resume)

    def _resume(self) -> None:
        self._paused_until = 0.0
        self._wake()

    def _taken(self) -> None:
        if self._places < self._settings.window and not self._paused_until:
            self._pause = 0.0
            self._places = min(float(self._settings.window), self._places + 1.0 / self._places)

    # -------------------------------------------------------------------------------------------------------- binding

    def _may_hurry(self) -> bool:
        """Somebody wants to send: a try that waits for its time comes now, but not one right after another."""
        return self._loop.time() - self._tried >= self._settings.reconnect.first

    async def _keep(self, command: Command) -> None:
        """One session, for as long as the connector lives."""
        reconnect = self._settings.reconnect
        failures = 0
        while True:
            try:
                session = await self._open(command)
            except ConnectFailed as failed:
                failures += 1
                self._report(command, failed, failures)
            else:
                began = self._loop.time()
                self._sessions.append(session)
                logger.info("%s: bound as %s", self.name, command.name.lower())
                self._down = ""
                self._wake_all()
                try:
                    why = await asyncio.shield(session.ended)
                finally:
                    if session.ended.done():
                        self._sessions.remove(session)
                logger.warning("%s: the session ended: %s", self.name, why)
                failures = 0 if self._loop.time() - began >= STEADY else failures + 1
                if not failures:
                    continue
                # after the first time the next bind is near enough to be waited for
                if failures > 1 and not self._bound_to_send():
                    self._down = f"{self.name}: the session ended: {why}"
                    self._tried = self._loop.time()
                    self._wake_all()
            ceiling = min(reconnect.cap, reconnect.first * 2.0 ** min(failures - 1, 16))
            self._hurry.clear()
            try:
                async with asyncio.timeout(ceiling / 2 + self._random() * ceiling / 2):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    def _report(self, command: Command, failed: ConnectFailed, failures: int) -> None:
        # once for an outage, and not for one that the next try ends
        if failures == 2:
            logger.warning("%s", failed)
        if command != Command.BIND_RECEIVER and not self._bound_to_send():
            self._down = str(failed)
            self._wake_all()

    async def _open(self, command: Command) -> Session:
        """A bound session. Raises `ConnectFailed`."""
        settings = self._settings
        at = f"{self.name} ({settings.host}:{settings.port})"
        self._tried = self._loop.time()
        timeouts = settings.timeouts

        def build() -> Session:
            session = Session(
                settings.window,
                timeouts.response,
                timeouts.enquire_link,
                settings.longest_pdu,
                self._heard,
                self._wake,
            )
            session.sends = command != Command.BIND_RECEIVER
            return session

        try:
            async with asyncio.timeout(timeouts.connect):
                _, session = await self._loop.create_connection(
                    build,
                    settings.host,
                    settings.port,
                    ssl=self._context,
                    server_hostname=settings.host if self._context else None,
                )
        except TimeoutError:
            raise ConnectFailed(f"{at}: no connection in {timeouts.connect:g} s") from None
        except OSError as error:
            raise ConnectFailed(f"{at}: {error}") from None
        try:
            async with asyncio.timeout(timeouts.connect):
                answer = await session.request(command, self._login())
        except (TimeoutError, NoAnswer, SessionEnded) as error:
            session.abort("not bound")
            words = str(error) or f"no answer in {timeouts.connect:g} s"
            raise ConnectFailed(f"{at}: {command.name.lower()}: {words}") from None
        except BaseException:
            session.abort("not bound")
            raise
        if answer.status != Status.ESME_ROK:
            session.abort("not bound")
            raise ConnectFailed(f"{at}: {command.name.lower()}: {status_name(answer.status)}", answer.status)
        session.bound = True
        return session

    def _login(self) -> dict[str, int | bytes]:
        settings = self._settings
        return {
            "system_id": settings.system_id.encode(),
            "password": settings.password.get_secret_value().encode(),
            "system_type": settings.system_type.encode(),
            "interface_version": INTERFACE_VERSION,
            "address_range": settings.address_range.encode(),
        }

    async def probe(self) -> str:
        """Bind once more as each kind and unbind; what was bound. Raises `ConnectFailed`."""
        done = []
        for kind, command in BINDS.items():
            if getattr(self._settings.binds, kind):
                await self._part_with(await self._open(command))
                done.append(kind)
        return "bound as " + ", ".join(done)


class ConnectFailed(Exception):
    """No session could be had."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.status = status
        super().__init__(text)


def tls_context(settings: ConnectorSettings) -> ssl.SSLContext | None:
    """Certificate and host name are verified, always."""
    if settings.security == "plain":
        return None
    context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
