"""The JSON door, a plugin: events come in and are asked about over HTTP and JSON."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from petitbleu import Accept, Services, hookimpl

from .bridge import operation_routes
from .operation import Door
from .pages import page_routes
from .settings import RestSettings
from .table import OPERATIONS


@hookimpl
def petitbleu_settings_type() -> type[RestSettings]:
    return RestSettings


@hookimpl
def petitbleu_intake_routes(settings: RestSettings, accept: Accept, services: Services) -> Sequence[web.RouteDef]:
    return operation_routes(Door(settings, services, accept), OPERATIONS)


@hookimpl
def petitbleu_routes() -> Sequence[web.RouteDef]:
    return page_routes(OPERATIONS)
