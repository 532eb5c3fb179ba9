"""The SOAP intake, a plugin: callers of Adobe Campaign's Message Center keep their calls."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from petitbleu import Accept, Command, Services, hookimpl

from .bridge import soap_route
from .command import WSDL
from .operations import Door
from .pages import page_routes
from .settings import SoapSettings


@hookimpl
def petitbleu_settings_type() -> type[SoapSettings]:
    return SoapSettings


@hookimpl
def petitbleu_intake_routes(settings: SoapSettings, accept: Accept, services: Services) -> Sequence[web.RouteDef]:
    return [soap_route(Door(settings, services, accept))]


@hookimpl
def petitbleu_routes(services: Services) -> Sequence[web.RouteDef]:
    return page_routes(services)


@hookimpl
def petitbleu_commands() -> Sequence[Command]:
    return [WSDL]
