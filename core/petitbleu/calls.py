"""The four ways to call a hook, each with its rule for failures, and one typed method per hook.

Implementations are walked here rather than by pluggy, because a coroutine that will answer None must not count as an
answer, and because whoever fails must be named.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .channels import address_problem
from .claims import COMMANDS, check_names
from .commands import Command
from .conduct import Conduct, Ear, place, shown, words
from .errors import HandOffRefused, NotNow, PetitbleuError, PluginError, TemplateError
from .failpoints import Crash
from .logs import masked
from .patience import GIVE_UP, OutOfTime, patiently
from .plugins import CORE, PREFIX, Implementation, Loaded
from .safemode import SafeMode
from .services import Accept, OpenServices, Services
from .standstill import slow
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
from .validity import MOST_NAME, rubbish

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

logger = logging.getLogger("petitbleu.plugins")

_SAID: Mapping[str, tuple[type[Exception], ...]] = MappingProxyType(
    {
        "petitbleu_resolve_template": (TemplateError,),
        "petitbleu_render": (TemplateError,),
        "petitbleu_deliver": (HandOffRefused, NotNow),
    }
)
"""By hook, exceptions that are an answer. Anything else that is raised is a failure."""
_OUTCOMES = (Delivered, Deferred, Failed, Unknown)


class HookFailed(PetitbleuError):
    """An asked plugin raised, hung or answered with something else than the hook's type."""

    def __init__(self, plugin: str, hook: str, cause: str, hung: bool = False) -> None:
        self.plugin, self.hook, self.cause, self.hung = plugin, hook, cause, hung
        super().__init__(f"plugin {plugin}, {hook}: {cause}")


class Calls:
    """Every hook as a method. `deadline` is in seconds and holds for each single implementation, unless `own` says
    otherwise: by plugin and hook (without `petitbleu_`), `*` for each other one but `deliver`. One that goes on after
    its deadline, though it was cancelled, is left `grace` seconds later. `unheard` is how much news a plugin that does
    not answer may have open."""

    def __init__(
        self,
        loaded: Loaded,
        deadline: float,
        grace: float = 1.0,
        own: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
        conduct: Conduct | None = None,
        unheard: int = 20,
    ) -> None:
        self._loaded = loaded
        self._deadline = deadline
        self._grace = grace
        self._own = own
        self._unheard = unheard
        self._ears: dict[tuple[str, str], Ear] = {}
        self.limit_reached: Callable[[str], None] = lambda limit: None
        """Told of each deadline that held, by the name of its setting."""
        self._owners: dict[str, Implementation] = {}
        self.conduct = conduct or Conduct()
        self.safe_mode: SafeMode | None = None
        """Stands before every delivery."""

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

    def deadline(self, plugin: str, hook: str, default: float) -> tuple[float, str]:
        """Seconds, and the setting that says so."""
        own, name = self._own.get(plugin), hook.removeprefix(PREFIX)
        if own is not None:
            for key in (name,) if name == "deliver" else (name, "*"):
                if key in own:
                    return own[key], f"delivery.deadlines.{plugin}.{key}"
        return default, "delivery.deadline" if name == "deliver" else "delivery.hook_deadline"

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

    def _collect(self, hook: str, valid: Callable[[Any], bool], values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        found = []
        for implementation in self._loaded.of(hook):
            plugin = implementation.plugin_name
            try:
                with slow(plugin, hook, self.deadline(plugin, hook, self._deadline)[0]):
                    answer = implementation.function(*self._arguments(implementation, values))
            except (Exception, SystemExit, GeneratorExit, asyncio.CancelledError) as error:
                raise self._error(implementation.plugin_name, hook, words(error)) from error
            if not valid(answer):
                cause = f"answered {shown(answer)}, see the hook's type"
                raise self._error(implementation.plugin_name, hook, cause)
            found.append((implementation.plugin_name, answer))
        return found

    async def _ask(self, hook: str, expected: tuple[type, ...], values: Mapping[str, Any]) -> Any:
        for implementation in self._loaded.of(hook):
            answer = await self._await(implementation, hook, values, self._deadline, (*expected, type(None)))
            if answer is not None:
                return answer
        return None

    async def _notify(self, hook: str, values: Mapping[str, Any]) -> None:
        for implementation in self._loaded.of(hook):
            plugin = implementation.plugin_name
            if plugin == CORE:
                with suppress(HookFailed):
                    await self._await(implementation, hook, values, self._deadline)
                continue
            ear = self._ears.get((plugin, hook))
            if ear is None:
                ear = self._ears[plugin, hook] = Ear(self._unheard, self._deadline, self.conduct.clock)
            if not ear.open():
                self._missed(plugin, hook, ear)
                continue
            hung = False
            try:
                await self._await(implementation, hook, values, self._deadline)
            except HookFailed as failed:
                hung = failed.hung
            finally:
                ear.closed(hung)

    def _missed(self, plugin: str, hook: str, ear: Ear) -> None:
        self.conduct.missed(plugin, hook)
        if not ear.deaf:
            ear.deaf = True
            said = {"plugin": plugin, "hook": hook}
            logger.warning("plugin %s, %s, does not answer and misses news until it does", plugin, hook, extra=said)

    async def _await(
        self,
        implementation: Implementation,
        hook: str,
        values: Mapping[str, Any],
        deadline: float,
        expected: tuple[type, ...] = (),
        several: bool = False,
        most: float = math.inf,
    ) -> Any:
        """The answer, of one of the `expected` types (or `several`, as a list) and whole; without any it is of no
        interest."""
        function: Callable[..., Any] = implementation.function
        limit = ""
        try:
            running = function(*self._arguments(implementation, values))
            try:
                # most hooks have nothing to wait for: a deadline is set for those that do
                waiting = running.send(None)
            except StopIteration as stop:
                answer = stop.value
            except GeneratorExit as error:
                raise RuntimeError("GeneratorExit") from error
            else:
                deadline, limit = self.deadline(implementation.plugin_name, hook, deadline)
                if most < deadline:
                    deadline, limit = most, "limits.deadline"
                answer = await patiently(running, waiting, deadline, self._grace)
            if implementation.plugin_name == CORE or not expected:
                return answer
            cause = rubbish(answer, expected, several, values.get("event"))
        except OutOfTime as late:
            but = ", and it goes on though it was cancelled" if late.ignored else ""
            self.limit_reached(limit)
            if late.ignored:
                self.conduct.was_left(implementation.plugin_name, hook)
            raise self._failed(implementation, hook, values, f"no answer within {deadline:g} s{but}", late) from None
        except asyncio.CancelledError as error:
            # ours ends the work; one that comes from inside would end it without a trace
            task = asyncio.current_task()
            if task is None or task.cancelling():
                if error.args == (GIVE_UP,):
                    self.conduct.was_left(implementation.plugin_name, hook)
                    logger.warning("plugin %s, %s: goes on though it was cancelled", implementation.plugin_name, hook)
                raise
            raise self._failed(implementation, hook, values, "cancelled its own work", error) from error
        except (GeneratorExit, Crash):
            raise  # of whoever closes us; the plugin's own has become another
        except BaseException as error:
            said = isinstance(error, _SAID.get(hook, ()))
            if said and not (isinstance(error, NotNow) and type(error.due) is not int):
                raise
            raise self._failed(implementation, hook, values, words(error), error) from error
        if cause:
            raise self._failed(implementation, hook, values, f"answered {cause}")
        return answer

    def _arguments(self, implementation: Implementation, values: Mapping[str, Any]) -> Sequence[Any]:
        own = implementation.plugin_name
        return [
            values[name]
            if name in values
            else self._loaded.settings.get(own)
            if name == "settings"
            else self._loaded.states.get(own)
            for name in implementation.argnames
        ]

    def _failed(
        self,
        implementation: Implementation,
        hook: str,
        values: Mapping[str, Any],
        cause: str,
        error: BaseException | None = None,
    ) -> HookFailed:
        hung = isinstance(error, OutOfTime)
        raised = error is not None and not hung
        # the health page is shown to anybody: the kind of an exception without its words
        self.conduct.failed(implementation.plugin_name, hook, type(error).__name__ if raised else cause)
        event = values["message"].event if "message" in values else values.get("event")
        said: dict[str, Any] = {"plugin": implementation.plugin_name, "hook": hook}
        if isinstance(event, Event):
            cause = masked(cause, event.addresses.values())
            said["event"] = event.id
        if error is not None and raised:
            said["at"] = place(error.__traceback__)
        failed = HookFailed(implementation.plugin_name, hook, cause, hung)
        logger.warning("%s", failed, extra=said)
        return failed

    def _error(self, plugin: str, hook: str, cause: str) -> PluginError:
        return PluginError(plugin, self._loaded.distribution(plugin), hook, cause)


def _is_settings_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Settings)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)


def _is_context_manager(value: object) -> bool:
    return hasattr(value, "__aenter__") and hasattr(value, "__aexit__")
