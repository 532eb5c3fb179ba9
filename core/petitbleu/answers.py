"""The core's own answers to its hooks, the last to be asked: the rules of the configuration, published templates,
Jinja2, and a journal of what happens."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .hookspecs import hookimpl
from .languages import event_language
from .logs import masked
from .metrics import Metrics
from .recycling import Recycling
from .rendering import event_context
from .templates import Templates
from .types import Content, Event, Outcome, Receipt, Recycle, Route, TemplateRef

journal = logging.getLogger("petitbleu.journal")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `routing`: when every attribute of `when` has the value given, these parts of the route are set."""

    when: Mapping[str, str]
    channel: str = ""
    brand: str = ""
    template: str = ""

    def holds(self, event: Event) -> bool:
        values = {
            "type": event.type,
            "channel": event.channel,
            "queue": event.queue.value,
            "origin": event.origin,
            "language": event.language,
            "country": event.country,
        }
        return all(values.get(name) == value for name, value in self.when.items())


_NO_RULE = Rule({})


def branded(content: Content, brand: Mapping[str, Any]) -> Content:
    """The content with the brand's sender and the like wherever the template leaves such a field open."""
    filled = {
        name: brand[name] for name, value in content.fields.items() if value is None and brand.get(name) is not None
    }
    return replace(content, fields={**content.fields, **filled}) if filled else content


class CoreAnswers:
    """`brands` maps event types to their brand, `languages` countries to languages; `brand` is the last to be asked."""

    def __init__(
        self,
        templates: Templates,
        rules: Sequence[Rule],
        brands: Mapping[str, str],
        languages: Mapping[str, str],
        brand: str,
        metrics: Metrics,
        recycling: Recycling,
    ) -> None:
        self._templates = templates
        self._rules = rules
        self._brands = brands
        self._languages = languages
        self._brand = brand
        self._metrics = metrics
        self._recycling = recycling

    @hookimpl
    async def petitbleu_enrich_event(self, event: Event) -> Event | None:
        """The country's language, where the event names none."""
        language = self._languages.get(event.country.upper(), "") if not event.language else ""
        return replace(event, language=language) if language else None

    @hookimpl
    async def petitbleu_route_event(self, event: Event) -> Route | None:
        """As the event wishes, in the name of its type's brand, unless the first rule that holds says otherwise."""
        rule = self._rule(event)
        return Route(
            channel=rule.channel or event.channel,
            brand=self._brand_by(rule, event),
            template=rule.template or event.type,
        )

    def brand_of(self, event: Event) -> str:
        """In whose name an event is sent, as the configuration says; "" leaves it to the template."""
        return self._brand_by(self._rule(event), event)

    def _brand_by(self, rule: Rule, event: Event) -> str:
        return rule.brand or self._brands.get(event.type, "")

    def _rule(self, event: Event) -> Rule:
        return next((rule for rule in self._rules if rule.holds(event)), _NO_RULE)

    @hookimpl
    async def petitbleu_resolve_template(self, event: Event, route: Route) -> TemplateRef | None:
        found = await self._templates.resolve(route.template, route.channel, event_language(event))
        return found if found is None or found.brand or not self._brand else replace(found, brand=self._brand)

    @hookimpl
    async def petitbleu_render(self, template: TemplateRef, event: Event, brand: Mapping[str, Any]) -> Content | None:
        compiled = await self._templates.compiled(template)
        return branded(compiled.render(template.language, event_context(event, brand)), brand)

    @hookimpl
    async def petitbleu_recycle_event(self, event: Event, channel: str, failure: str) -> Recycle | None:
        return self._recycling.answer(event, channel, failure)

    @hookimpl
    async def petitbleu_receipt_recorded(self, event: Event, receipt: Receipt) -> None:
        text = masked(receipt.text, event.addresses.values())
        said = {"provider": receipt.provider, "code": receipt.code, "reason": text}
        journal.info(receipt.state.value, extra={"event": event.id, "type": event.type, **said})

    @hookimpl
    async def petitbleu_event_accepted(self, event: Event) -> None:
        self._metrics.accepted(event)
        journal.info("accepted", extra={"event": event.id, "type": event.type, "channel": event.channel})

    @hookimpl
    async def petitbleu_outcome_recorded(self, event: Event, status: str, outcome: Outcome | None, reason: str) -> None:
        provider = outcome.provider if outcome is not None else ""
        reason = masked(reason, event.addresses.values())
        journal.info(status, extra={"event": event.id, "type": event.type, "provider": provider, "reason": reason})
