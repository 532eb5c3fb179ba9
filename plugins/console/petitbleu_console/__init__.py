"""The operators' web pages, at `/console/`."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from petitbleu import Services, Settings, hookimpl

from .settings import ConsoleSettings
from .site import routes


@hookimpl
def petitbleu_settings_type() -> type[Settings]:
    return ConsoleSettings


@hookimpl
def petitbleu_routes(settings: ConsoleSettings, services: Services) -> Sequence[web.RouteDef]:
    return routes(settings, services)
