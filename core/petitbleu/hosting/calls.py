"""Every hook as a typed method: the four ways to call one, each with its rule for failures."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..channels import address_problem
from ..commands import Command
from ..errors import PetitbleuError
from ..safemode import SafeMode
from ..services import Accept, OpenServices, Services
from ..types import (
    Attempt,
    Catcher,
    Channel,
    Check,
    Content,
    Deferred,
    Delivered,
    Event,
    Failed,
    Hold,
    Message,
    Notice,
    NotTold,
    Outcome,
    Receipt,
    Recycle,
    Reject,
    Route,
    Settings,
    Subscription,
    Suppress,
    TemplateRef,
    Told,
    Unknown,
)
from .calling import Caller, HookFailed
from .claims import COMMANDS, check_names
from .plugins import Implementation
from .validity import MOST_NAME

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

logger = logging.getLogger("petitbleu.plugins")

_OUTCOMES = (Delivered, Deferred, Failed, Unknown)


class Calls(Caller):
    """Every hook as a method."""

    safe_mode: SafeMode | None = None
    """Stands before every delivery."""
    _owners: Mapping[str, Implementation] = MappingProxyType({})
    """By channel, once they are known."""

    # ------------------------------------------------------------------------------------------------------ at start

    def settings_types(self) -> dict[str, type[Settings]]:
        return dict(self._collect("petitbleu_settings_type", _is_settings_type, {}))

    def channels(self) -> dict[str, Channel]:
        """By name. Each is remembered with its owner."""
        claimed: dict[str, tuple[str, Channel]] = {}
        addresses: dict[str, tuple[str, Channel]] = {}
        channels: dict[str, Channel] = {}
        owners: dict[str, Implementation] = {}
        implementations = {impl.plugin_name: impl for impl in self._loaded.of("petitbleu_deliver")}
        for plugin, declared in self._collect("petitbleu_channels", _is_list_of(Channel), {}):
            for channel in declared:
                for word in (channel.name, *channel.aliases):
                    if word.lower() in claimed:
                        other = claimed[word.lower()][0]
                        cause = f"claims the channel {word!r}, which plugin {other} has"
                        raise self._error(plugin, "petitbleu_channels", cause)
                    claimed[word.lower()] = (plugin, channel)
                if plugin not in implementations:
                    cause = f"declares the channel {channel.name!r} but does not implement petitbleu_deliver"
                    raise self._error(plugin, "petitbleu_channels", cause)
                if problem := address_problem(channel):
                    raise self._error(plugin, "petitbleu_channels", problem)
                other, first = addresses.setdefault(channel.address.lower(), (plugin, channel))
                if (first.address, first.address_check) != (channel.address, channel.address_check):
                    cause = f"claims the address {channel.address!r}, which plugin {other} has with another check"
                    raise self._error(plugin, "petitbleu_channels", cause)
                channels[channel.name] = channel
                owners[channel.name] = implementations[plugin]
        self._owners = owners
        return channels

    def address_checks(self, channels: Iterable[Channel]) -> dict[str, Callable[[str], str]]:
        """The attributes that `channels` have for an address beside the core's. A check that fails, otherwise than by
        `ValueError`, raises `HookFailed`."""
        return {
            channel.address: self._address_check(channel.name, channel.address_check)
            for channel in channels
            if channel.address_check is not None
        }

    def _address_check(self, channel: str, check: Callable[[str], Any]) -> Callable[[str], str]:
        plugin = self._owners[channel].plugin_name

        def checked(text: str) -> str:
            try:
                address = check(text)
            except ValueError:
                raise
            except (Exception, SystemExit, GeneratorExit, asyncio.CancelledError) as error:
                cause = f"address_check of {channel}: {type(error).__name__}"
            else:
                if type(address) is str and len(address) <= MOST_NAME:
                    return address
                cause = f"address_check of {channel}: answered {type(address).__name__}"
            self.conduct.failed(plugin, "petitbleu_channels", cause)
            failed = HookFailed(plugin, "petitbleu_channels", cause)
            logger.warning("%s", failed, extra={"plugin": plugin, "hook": "petitbleu_channels"})
            raise failed

        return checked

    def channels_of(self, plugin: str) -> list[str]:
        return [name for name, owner in self._owners.items() if owner.plugin_name == plugin]

    def intake_routes(self, accept: Accept, services: Services) -> list[tuple[str, web.RouteDef]]:
        """With the plugins that have them."""
        return self._routes("petitbleu_intake_routes", {"accept": accept, "services": services})

    def routes(self, services: Services) -> list[tuple[str, web.RouteDef]]:
        """With the plugins that have them."""
        return self._routes("petitbleu_routes", {"services": services})

    def commands(self, services: OpenServices) -> list[Command]:
        found = self._collect("petitbleu_commands", _is_list_of(Command), {"services": services})
        claimed = [(plugin, [command.name for command in commands]) for plugin, commands in found]
        check_names("command", claimed, COMMANDS, self._loaded)
        return [command for _, commands in found for command in commands]

    def catchers(self) -> list[tuple[str, Catcher]]:
        """With the plugins that have them."""
        found = self._collect("petitbleu_catchers", _is_list_of(Catcher), {})
        claimed = [(plugin, [catcher.name for catcher in catchers]) for plugin, catchers in found]
        check_names("catcher", claimed, (), self._loaded)
        return [(plugin, catcher) for plugin, catchers in found for catcher in catchers]

    def subscriptions(self) -> list[tuple[str, Subscription]]:
        """With the plugins that have them."""
        tellers = {implementation.plugin_name for implementation in self._loaded.of("petitbleu_tell")}
        subscriptions: dict[tuple[str, str], Subscription] = {}
        for plugin, declared in self._collect("petitbleu_subscriptions", _is_list_of(Subscription), {}):
            for one in declared:
                if plugin not in tellers:
                    cause = f"declares {one.name!r} but does not implement petitbleu_tell"
                    raise self._error(plugin, "petitbleu_subscriptions", cause)
                if (plugin, one.name) in subscriptions:
                    raise self._error(plugin, "petitbleu_subscriptions", f"declares {one.name!r} twice")
                subscriptions[plugin, one.name] = one
        return [(plugin, one) for (plugin, _), one in subscriptions.items()]

    def lifespans(
        self, services: Services, accept: Accept | None = None
    ) -> list[tuple[str, AbstractAsyncContextManager[object]]]:
        return self._collect("petitbleu_lifespan", _is_context_manager, {"services": services, "accept": accept})

    def prepare_environment(self, environment: SandboxedEnvironment, channel: str) -> None:
        arguments = {"environment": environment, "channel": channel}
        self._collect("petitbleu_prepare_environment", lambda value: value is None, arguments)

    # ----------------------------------------------------------------------------------------------------------- ask

    async def check_event(self, event: Event) -> Reject | None:
        answer: Reject | None = await self._ask("petitbleu_check_event", (Reject,), {"event": event})
        return answer

    async def enrich_event(self, event: Event) -> Event:
        answer: Event | None = await self._ask("petitbleu_enrich_event", (Event,), {"event": event})
        return answer or event

    async def route_event(self, event: Event) -> Route | None:
        answer: Route | None = await self._ask("petitbleu_route_event", (Route,), {"event": event})
        return answer

    async def resolve_template(self, event: Event, route: Route) -> TemplateRef | None:
        arguments = {"event": event, "route": route}
        answer: TemplateRef | None = await self._ask("petitbleu_resolve_template", (TemplateRef,), arguments)
        return answer

    async def render(self, template: TemplateRef, event: Event, brand: Mapping[str, Any]) -> Content | None:
        arguments = {"template": template, "event": event, "brand": brand}
        answer: Content | None = await self._ask("petitbleu_render", (Content,), arguments)
        return answer

    async def check_message(self, message: Message) -> Suppress | Hold | None:
        answer: Suppress | Hold | None = await self._ask(
            "petitbleu_check_message", (Suppress, Hold), {"message": message}
        )
        return answer

    async def recycle_event(self, event: Event, channel: str, failure: str, reason: str) -> Recycle | None:
        """A failure counts as None: what became of the event stands."""
        values = {"event": event, "channel": channel, "failure": failure, "reason": reason}
        for implementation in self._loaded.of("petitbleu_recycle_event"):
            try:
                answer: Recycle | None = await self._await(
                    implementation, "petitbleu_recycle_event", values, self._deadline, (Recycle, type(None))
                )
                if answer is not None:
                    return answer
            except HookFailed:
                continue
        return None

    # ------------------------------------------------------------------------------------------------------- address

    async def deliver(self, message: Message, attempt: Attempt, deadline: float) -> Outcome:
        """The outcome as the channel's owner gives it; it has `deadline` seconds, unless it has a deadline of its own.

        Raises `HookFailed` when it fails, `HandOffRefused`, `NotNow`, and `Withheld` in safe mode.
        """
        if self.safe_mode is not None:
            if self.safe_mode.sink:
                return await self.safe_mode.swallow(message, attempt)
            message = self.safe_mode.made_safe(message)
        implementation = self._owners[message.channel]
        values = {"message": message, "attempt": attempt}
        answer: Outcome = await self._await(implementation, "petitbleu_deliver", values, deadline, _OUTCOMES)
        return answer

    def delivery_deadline(self, channel: str, default: float) -> float:
        """Seconds that the owner of a channel has for a message."""
        return self.deadline(self._owners[channel].plugin_name, "petitbleu_deliver", default)[0]

    async def tell(self, plugin: str, notice: Notice, deadline: float) -> Told | NotTold:
        """Raises `HookFailed`."""
        (implementation,) = (one for one in self._loaded.of("petitbleu_tell") if one.plugin_name == plugin)
        values = {"notice": notice}
        answer: Told | NotTold = await self._await(implementation, "petitbleu_tell", values, deadline, (Told, NotTold))
        return answer

    # -------------------------------------------------------------------------------------------------------- notify

    async def event_accepted(self, event: Event) -> None:
        await self._notify("petitbleu_event_accepted", {"event": event})

    async def outcome_recorded(self, event: Event, status: str, outcome: Outcome | None, reason: str) -> None:
        values = {"event": event, "status": status, "outcome": outcome, "reason": reason}
        await self._notify("petitbleu_outcome_recorded", values)

    async def receipt_recorded(self, event: Event, receipt: Receipt) -> None:
        await self._notify("petitbleu_receipt_recorded", {"event": event, "receipt": receipt})

    async def health(self, most: float = math.inf) -> dict[str, list[Check]]:
        """By plugin, all asked at once; one that fails to answer, or takes more than `most` seconds, has one failed
        check."""

        async def ask(implementation: Implementation) -> tuple[str, list[Check]]:
            try:
                found = await self._await(
                    implementation, "petitbleu_health", {}, self._deadline, (Check,), several=True, most=most
                )
            except HookFailed as failed:
                found = [Check("health", False, failed.cause)]
            return implementation.plugin_name, found

        return dict(await asyncio.gather(*map(ask, self._loaded.of("petitbleu_health"))))

    # ------------------------------------------------------------------------------------------------------ lifespans

    @asynccontextmanager
    async def lived(self, plugin: str, lifespan: AbstractAsyncContextManager[object]) -> AsyncIterator[object]:
        """Inside a plugin's lifespan, with what it yields. An error on entering, or none of the two in time, raises
        `PetitbleuError`; on leaving it is logged."""
        try:
            state = await self._stage(plugin, lifespan.__aenter__)
        except HookFailed as failed:
            # what a plugin says in words of ours is fit to be shown as it is
            if isinstance(failed.__cause__, PetitbleuError):
                raise failed.__cause__ from None
            raise PetitbleuError(f"plugin {plugin} could not start: {failed.cause}") from failed
        try:
            yield state
        finally:
            with suppress(HookFailed):
                await self._stage(plugin, partial(lifespan.__aexit__, None, None, None))

    async def _stage(self, plugin: str, step: Callable[[], Awaitable[object]]) -> object:
        async def taken() -> object:
            return await step()

        return await self._await(Implementation(plugin, taken, ()), "petitbleu_lifespan", {}, self._deadline)

    async def check_providers(self, deadline: float) -> dict[str, list[Check]]:
        """By plugin, each of its providers tried; one that fails to answer has one failed check."""
        hook = "petitbleu_check_providers"
        found: dict[str, list[Check]] = {}
        for implementation in self._loaded.of(hook):
            plugin = implementation.plugin_name
            try:
                found[plugin] = await self._await(implementation, hook, {}, deadline, (Check,), True)
            except HookFailed as failed:
                found[plugin] = [Check("providers", False, failed.cause)]
        return found

    # -------------------------------------------------------------------------------------------------------- inside

    def _routes(self, hook: str, values: Mapping[str, Any]) -> list[tuple[str, web.RouteDef]]:
        found = self._collect(hook, _is_list_of(web.RouteDef), values)
        return [(plugin, route) for plugin, routes in found for route in routes]


def _is_settings_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Settings)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)


def _is_context_manager(value: object) -> bool:
    return hasattr(value, "__aenter__") and hasattr(value, "__aexit__")
