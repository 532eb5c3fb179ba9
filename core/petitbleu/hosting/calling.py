"""How a hook's implementations are called, whichever hook it is: at the start, asked in turn, or told.

They are walked here rather than by pluggy, because a coroutine that will answer None must not count as an answer, and
because whoever fails must be named.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from ..errors import HandOffRefused, NotNow, PetitbleuError, PluginError, TemplateError
from ..failpoints import Crash
from ..logs import masked
from ..types import Event
from .conduct import Conduct, Ear, place, shown, words
from .patience import GIVE_UP, OutOfTime, patiently
from .plugins import CORE, PREFIX, Implementation, Loaded
from .standstill import slow
from .validity import rubbish

logger = logging.getLogger("petitbleu.plugins")

_SAID: Mapping[str, tuple[type[Exception], ...]] = MappingProxyType(
    {
        "petitbleu_resolve_template": (TemplateError,),
        "petitbleu_render": (TemplateError,),
        "petitbleu_deliver": (HandOffRefused, NotNow),
    }
)
"""By hook, exceptions that are an answer. Anything else that is raised is a failure."""


class HookFailed(PetitbleuError):
    """An asked plugin raised, hung or answered with something else than the hook's type."""

    def __init__(self, plugin: str, hook: str, cause: str, hung: bool = False) -> None:
        self.plugin, self.hook, self.cause, self.hung = plugin, hook, cause, hung
        super().__init__(f"plugin {plugin}, {hook}: {cause}")


class Caller:
    """`deadline` is in seconds and holds for each single implementation, unless `own` says otherwise: by plugin and
    hook (without `petitbleu_`), `*` for each other one but `deliver`. One that goes on after its deadline, though it
    was cancelled, is left `grace` seconds later. `unheard` is how much news a plugin that does not answer may have
    open."""

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
        self.conduct = conduct or Conduct()

    def deadline(self, plugin: str, hook: str, default: float) -> tuple[float, str]:
        """Seconds, and the setting that says so."""
        own, name = self._own.get(plugin), hook.removeprefix(PREFIX)
        if own is not None:
            for key in (name,) if name == "deliver" else (name, "*"):
                if key in own:
                    return own[key], f"delivery.deadlines.{plugin}.{key}"
        return default, "delivery.deadline" if name == "deliver" else "delivery.hook_deadline"

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
