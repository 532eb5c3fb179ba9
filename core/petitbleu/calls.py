"""The four ways to call a hook, each with its rule for failures, and one typed method per hook.

Implementations are walked here rather than by pluggy, because a coroutine that will answer None must not count as an
answer, and because whoever fails must be named.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pluggy import HookImpl

from .channels import address_problem
from .commands import Command
from .errors import HandOffRefused, NotNow, PetitbleuError, PluginError, TemplateError
from .plugins import Loaded
from .services import Accept, Services
from .types import (
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
    Outcome,
    Receipt,
    Recycle,
    Reject,
    Route,
    Settings,
    Suppress,
    TemplateRef,
    Unknown,
)

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

logger = logging.getLogger("petitbleu.plugins")


class HookFailed(PetitbleuError):
    """An asked plugin raised, hung or answered with something else than the hook's type."""

    def __init__(self, plugin: str, hook: str, cause: str, hung: bool = False) -> None:
        self.plugin, self.hook, self.cause, self.hung = plugin, hook, cause, hung
        super().__init__(f"plugin {plugin}, {hook}: {cause}")


class Calls:
    """Every hook as a method. `deadline` is in seconds and holds for each single implementation."""

    def __init__(self, loaded: Loaded, deadline: float) -> None:
        self._loaded = loaded
        self._deadline = deadline
        self._owners: dict[str, HookImpl] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        """(plugin, hook) → how often it failed."""

    # ------------------------------------------------------------------------------------------------------ at start

    def settings_types(self) -> dict[str, type[Settings]]:
        return dict(self._collect("petitbleu_settings_type", _is_settings_type, {}))

    def channels(self) -> dict[str, Channel]:
        """By name. Each is remembered with its owner."""
        claimed: dict[str, tuple[str, Channel]] = {}
        addresses: dict[str, tuple[str, Channel]] = {}
        channels: dict[str, Channel] = {}
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
                self._owners[channel.name] = implementations[plugin]
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
            except Exception as error:
                cause = f"address_check of {channel}: {type(error).__name__}"
            else:
                if isinstance(address, str):
                    return address
                cause = f"address_check of {channel}: answered {type(address).__name__}"
            self.failures[plugin, "petitbleu_channels"] += 1
            raise HookFailed(plugin, "petitbleu_channels", cause)

        return checked

    def channels_of(self, plugin: str) -> list[str]:
        return [name for name, owner in self._owners.items() if owner.plugin_name == plugin]

    def intake_routes(self, accept: Accept, services: Services) -> list[web.RouteDef]:
        return self._routes("petitbleu_intake_routes", {"accept": accept, "services": services})

    def routes(self, services: Services) -> list[web.RouteDef]:
        return self._routes("petitbleu_routes", {"services": services})

    def commands(self) -> list[Command]:
        found = self._collect("petitbleu_commands", _is_list_of(Command), {})
        return [command for _, commands in found for command in commands]

    def catchers(self) -> list[tuple[str, Catcher]]:
        """With the plugins that have them."""
        found = self._collect("petitbleu_catchers", _is_list_of(Catcher), {})
        return [(plugin, catcher) for plugin, catchers in found for catcher in catchers]

    def lifespans(
        self, services: Services, accept: Accept | None = None
    ) -> list[tuple[str, AbstractAsyncContextManager[object]]]:
        return self._collect("petitbleu_lifespan", _is_context_manager, {"services": services, "accept": accept})

    def prepare_environment(self, environment: SandboxedEnvironment, channel: str) -> None:
        arguments = {"environment": environment, "channel": channel}
        self._collect("petitbleu_prepare_environment", lambda value: value is None, arguments)

    # ----------------------------------------------------------------------------------------------------------- ask

    async def check_event(self, event: Event) -> Reject | None:
        answer: Reject | None = await self._ask("petitbleu_check_event", Reject, {"event": event})
        return answer

    async def enrich_event(self, event: Event) -> Event:
        answer: Event | None = await self._ask("petitbleu_enrich_event", Event, {"event": event})
        return answer or event

    async def route_event(self, event: Event) -> Route | None:
        answer: Route | None = await self._ask("petitbleu_route_event", Route, {"event": event})
        return answer

    async def resolve_template(self, event: Event, route: Route) -> TemplateRef | None:
        arguments = {"event": event, "route": route}
        answer: TemplateRef | None = await self._ask("petitbleu_resolve_template", TemplateRef, arguments)
        return answer

    async def render(self, template: TemplateRef, event: Event, brand: Mapping[str, Any]) -> Content | None:
        arguments = {"template": template, "event": event, "brand": brand}
        answer: Content | None = await self._ask("petitbleu_render", Content, arguments)
        return answer

    async def check_message(self, message: Message) -> Suppress | Hold | None:
        answer: Suppress | Hold | None = await self._ask(
            "petitbleu_check_message", Suppress | Hold, {"message": message}
        )
        return answer

    async def recycle_event(self, event: Event, channel: str, failure: str, reason: str) -> Recycle | None:
        """A failure is logged and counts as None: what became of the event stands."""
        values = {"event": event, "channel": channel, "failure": failure, "reason": reason}
        for implementation in self._loaded.of("petitbleu_recycle_event"):
            try:
                answer = await self._await(implementation, "petitbleu_recycle_event", values, self._deadline)
                if isinstance(answer, Recycle):
                    return answer
                if answer is not None:
                    cause = f"answered {type(answer).__name__}"
                    raise self._failed(implementation, "petitbleu_recycle_event", cause)
            except HookFailed as failed:
                logger.warning("%s", failed, extra={"event": event.id})
        return None

    # ------------------------------------------------------------------------------------------------------- address

    async def deliver(self, message: Message, attempt: Attempt, deadline: float) -> Outcome:
        """The outcome as the channel's owner gives it. Raises `HookFailed` when it fails, `HandOffRefused`,
        `NotNow`."""
        implementation = self._owners[message.channel]
        values = {"message": message, "attempt": attempt}
        answer: Outcome = await self._await(implementation, "petitbleu_deliver", values, deadline)
        if not isinstance(answer, Delivered | Deferred | Failed | Unknown):
            raise self._failed(implementation, "petitbleu_deliver", f"answered {type(answer).__name__}, not an outcome")
        return answer

    # -------------------------------------------------------------------------------------------------------- notify

    async def event_accepted(self, event: Event) -> None:
        await self._notify("petitbleu_event_accepted", {"event": event})

    async def outcome_recorded(self, event: Event, status: str, outcome: Outcome | None, reason: str) -> None:
        values = {"event": event, "status": status, "outcome": outcome, "reason": reason}
        await self._notify("petitbleu_outcome_recorded", values)

    async def receipt_recorded(self, event: Event, receipt: Receipt) -> None:
        await self._notify("petitbleu_receipt_recorded", {"event": event, "receipt": receipt})

    async def health(self) -> dict[str, list[Check]]:
        """By plugin; one that fails to answer has one failed check."""
        found: dict[str, list[Check]] = {}
        for implementation in self._loaded.of("petitbleu_health"):
            plugin = implementation.plugin_name
            try:
                found[plugin] = list(await self._await(implementation, "petitbleu_health", {}, self._deadline))
            except HookFailed as failed:
                found[plugin] = [Check("health", False, failed.cause)]
        return found

    # -------------------------------------------------------------------------------------------------------- inside

    def _routes(self, hook: str, values: Mapping[str, Any]) -> list[web.RouteDef]:
        found = self._collect(hook, _is_list_of(web.RouteDef), values)
        return [route for _, routes in found for route in routes]

    def _collect(self, hook: str, valid: Callable[[Any], bool], values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        found = []
        for implementation in self._loaded.of(hook):
            try:
                answer = implementation.function(*self._arguments(implementation, values))
            except Exception as error:
                raise self._error(implementation.plugin_name, hook, f"{type(error).__name__}: {error}") from error
            if not valid(answer):
                raise self._error(implementation.plugin_name, hook, f"answered {answer!r:.200}, see the hook's type")
            found.append((implementation.plugin_name, answer))
        return found

    async def _ask(self, hook: str, expected: Any, values: Mapping[str, Any]) -> Any:
        for implementation in self._loaded.of(hook):
            answer = await self._await(implementation, hook, values, self._deadline)
            if answer is None:
                continue
            if not isinstance(answer, expected):
                raise self._failed(implementation, hook, f"answered {type(answer).__name__}")
            return answer
        return None

    async def _notify(self, hook: str, values: Mapping[str, Any]) -> None:
        for implementation in self._loaded.of(hook):
            try:
                await self._await(implementation, hook, values, self._deadline)
            except HookFailed as failed:
                logger.warning("%s", failed, extra={"event": values["event"].id})

    async def _await(self, implementation: HookImpl, hook: str, values: Mapping[str, Any], deadline: float) -> Any:
        function: Callable[..., Any] = implementation.function
        try:
            running = function(*self._arguments(implementation, values))
            try:
                # most hooks have nothing to wait for: a deadline is set for those that do
                waiting = running.send(None)
            except StopIteration as stop:
                return stop.value
            async with asyncio.timeout(deadline):
                return await _resumed(running, waiting)
        except (HandOffRefused, NotNow, TemplateError):
            raise
        except TimeoutError:
            raise self._failed(implementation, hook, f"no answer within {deadline:g} s", hung=True) from None
        except asyncio.CancelledError as error:
            # ours ends the work; one that comes from inside would end it without a trace
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self._failed(implementation, hook, "cancelled its own work") from error
        except (Exception, SystemExit) as error:
            raise self._failed(implementation, hook, f"{type(error).__name__}: {error}") from error

    def _arguments(self, implementation: HookImpl, values: Mapping[str, Any]) -> Sequence[Any]:
        own = implementation.plugin_name
        return [
            values[name]
            if name in values
            else self._loaded.settings.get(own)
            if name == "settings"
            else self._loaded.states.get(own)
            for name in implementation.argnames
        ]

    def _failed(self, implementation: HookImpl, hook: str, cause: str, hung: bool = False) -> HookFailed:
        self.failures[implementation.plugin_name, hook] += 1
        return HookFailed(implementation.plugin_name, hook, cause, hung)

    def _error(self, plugin: str, hook: str, cause: str) -> PluginError:
        return PluginError(plugin, self._loaded.distribution(plugin), hook, cause)


@coroutine
def _resumed(running: Coroutine[Any, Any, Any], waiting: Any) -> Generator[Any, Any, Any]:
    """What `running` returns, which was begun already and waits for `waiting`."""
    while True:
        try:
            sent = yield waiting
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:
            go, value = running.throw, error
        else:
            go, value = running.send, sent  # type: ignore[assignment]
        try:
            waiting = go(value)
        except StopIteration as stop:
            return stop.value


def _is_settings_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Settings)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)


def _is_context_manager(value: object) -> bool:
    return hasattr(value, "__aenter__") and hasattr(value, "__aexit__")
