"""The plugin at work: the mailer, and where bounces are wanted and may come in here, the listener."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from petitbleu import Check, Services

from .bounces import Desk
from .listener import Listener, listening
from .settings import EmailSettings
from .tokens import Signer
from .transport import Mailer, open_mailer


@dataclass(frozen=True, slots=True)
class Running:
    """The plugin's state."""

    mailer: Mailer
    listener: Listener | None

    def checks(self, memory: float) -> list[Check]:
        checks = [pool.check(memory) for pool in self.mailer.pools.values()]
        return [*checks, self.listener.check()] if self.listener is not None else checks


@asynccontextmanager
async def running(settings: EmailSettings, services: Services) -> AsyncIterator[Running]:
    """The listener closes before the connections to the providers do."""
    bounces = settings.bounces
    async with AsyncExitStack() as stack:
        if bounces is None:
            yield Running(await stack.enter_async_context(open_mailer(settings)), None)
            return
        secrets = [secret.get_secret_value().encode() for secret in bounces.secrets]
        signer = Signer(services.cell, bounces.domain, secrets, settings.providers)
        mailer = await stack.enter_async_context(open_mailer(settings, signer))
        if not services.delivers:
            yield Running(mailer, None)
            return
        desk = Desk(signer, services, frozenset(bounces.feedback), settings.reply_length)
        yield Running(mailer, await stack.enter_async_context(listening(desk, bounces)))
