"""The operators' web pages, at `/console/`."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from petitbleu import Services, Settings, hookimpl

from .settings import ConsoleSettings


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return ConsoleSettings


@hookimpl
def petitbleu_routes(settings: ConsoleSettings, services: Services) -> Sequence[web.RouteDef]:
    # commands that serve nothing start sooner without the pages
    from .routes import routes

    return routes(settings, services)
