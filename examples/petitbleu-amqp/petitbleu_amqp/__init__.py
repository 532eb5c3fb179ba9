"""Events from a RabbitMQ queue, an intake plugin without a route."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from petitbleu import Accept, Check, Services, Settings, hookimpl

from .feed import Feed, open_feed
from .settings import AmqpSettings


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return AmqpSettings


@hookimpl
def petitbleu_lifespan(
    settings: AmqpSettings, services: Services, accept: Accept | None
) -> AbstractAsyncContextManager[object]:
    return open_feed(settings, services, accept)


@hookimpl
async def petitbleu_health(state: Feed | None) -> Sequence[Check]:
    return [] if state is None else [state.check()]
