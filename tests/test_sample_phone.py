"""The sample instance's text messages and notifications, rendered for every seed as the server would."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from petitbleu import Content, Event, parse_xml
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.intake.eventxml import events_in
from petitbleu.languages import event_language
from petitbleu.rendering import Renderer, event_context
from petitbleu.templates import Drafts

CONFIG = Path(__file__).parent.parent / "config"
NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
TEMPLATES = (
    ("account_statement", "sms"),
    ("password_reset", "sms"),
    ("shipping_confirmation", "android"),
    ("shipping_confirmation", "ios"),
)


class Sample:
    """The templates of `config/` for phones, with the channels of the plugins."""

    def __init__(self) -> None:
        loaded = load(["sms", "push"])
        calls = Calls(loaded, deadline=5.0)
        types = calls.settings_types()
        loaded.settings["sms"] = types["sms"].model_validate({"connectors": {"main": {"host": "127.0.0.1"}}})
        loaded.settings["push"] = types["push"].model_validate({})
        self.channels = calls.channels()
        self._renderer = Renderer(list(self.channels.values()), calls.prepare_environment)
        self._drafts = Drafts(CONFIG / "templates", list(self.channels.values()))

    def rendered(self, event_type: str, channel: str, language: str = "") -> Iterator[tuple[Event, Content]]:
        draft = self._drafts.load(event_type, channel)
        compiled = self._renderer.compile(draft.snapshot)
        for seed in draft.seeds:
            event = seed.event(event_type, self.channels[channel], NOW)
            yield event, compiled.render(language or event_language(event), event_context(event, {}))


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample()


def shown(content: Content) -> str:
    return "\n".join([*content.parts.values(), *(str(value) for value in content.fields.values())])


@pytest.mark.parametrize(("event_type", "channel"), TEMPLATES)
def test_every_seed_in_both_languages(sample: Sample, event_type: str, channel: str) -> None:
    english = [shown(content) for _, content in sample.rendered(event_type, channel, "en")]
    french = [shown(content) for _, content in sample.rendered(event_type, channel, "fr")]
    assert len(english) >= 2
    for one, other in zip(english, french, strict=True):
        assert one != other
        assert not any(mark in one + other for mark in ("{{", "{%", "Undefined"))
    spoken = {event.language[:2] for event, _ in sample.rendered(event_type, channel)}
    assert spoken == {"en", "fr"}


def test_a_text_message_is_one_part_where_the_link_is_short(sample: Sample) -> None:
    preview = sample.channels["sms"].preview
    assert preview is not None
    parts = [
        preview(content)[-1]
        for event_type in ("account_statement", "password_reset")
        for event, content in sample.rendered(event_type, "sms")
        if "lang=en" not in shown(content)
    ]
    assert len(parts) >= 4
    assert {line.split(",")[0] for line in parts} == {"parts: 1 (GSM alphabet"}


@pytest.mark.parametrize("channel", ["android", "ios"])
def test_a_notification_says_what_where_and_when(sample: Sample, channel: str) -> None:
    fields = {event.language: content.fields for event, content in sample.rendered("shipping_confirmation", channel)}
    assert fields["en"]["title"] == "Your order 30118 is on its way"
    assert fields["en"]["link"] == "https://track.shop.example.com/p/00573313450012345679"
    assert fields["fr"]["title"] == "Votre commande 30131 est en route"
    assert fields["fr"]["body"] == "Colis Éclair"


@pytest.mark.parametrize("name", ["account_statement_sms", "password_reset_sms", "shipping_confirmation_ios"])
def test_the_sample_events_wish_for_a_phone(name: str) -> None:
    (event,) = events_in(parse_xml((CONFIG / "events" / f"{name}.xml").read_bytes()))
    assert event.attributes["wishedChannel"] in ("1", "sms", "41")
    assert name.startswith(event.attributes["type"])
