"""The sample instance's emails, rendered for every seed and sample event as the server would, in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html
from petitbleu import Channel, Content, Event, Queue, parse_xml
from petitbleu.hosting.calls import Calls
from petitbleu.hosting.plugins import load
from petitbleu.intake.eventxml import events_in
from petitbleu.languages import event_language
from petitbleu.rendering import Compiled, Renderer, event_context
from petitbleu.templates import Draft, Drafts

CONFIG = Path(__file__).parent.parent / "config"
TYPES = ("account_statement", "cart_abandonment", "order_confirmation", "password_reset", "shipping_confirmation")
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
WHY = {"en": "You receive this message because", "fr": "Vous recevez ce message parce qu"}
SPACES = re.compile(r"\s+")


class Sample:
    """The templates of `config/`, with the email plugin's channel and filters."""

    def __init__(self) -> None:
        loaded = load(["email"])
        calls = Calls(loaded, deadline=5.0)
        loaded.settings["email"] = calls.settings_types()["email"].model_validate(
            {"providers": {"main": {"host": "127.0.0.1", "port": 1025}}}
        )
        channels = calls.channels()
        self.email: Channel = channels["email"]
        self.drafts = Drafts(CONFIG / "templates", list(channels.values()))
        self.renderer = Renderer(list(channels.values()), calls.prepare_environment)
        self._compiled: dict[str, tuple[Draft, Compiled]] = {}

    def load(self, event_type: str) -> tuple[Draft, Compiled]:
        if event_type not in self._compiled:
            draft = self.drafts.load(event_type, "email")
            self._compiled[event_type] = draft, self.renderer.compile(draft.snapshot)
        return self._compiled[event_type]

    def render(self, event: Event, language: str = "", brand: Mapping[str, Any] = {}) -> Content:
        return self.load(event.type)[1].render(language or event_language(event), event_context(event, brand))

    def seed_events(self, event_type: str) -> Iterator[Event]:
        for seed in self.load(event_type)[0].seeds:
            yield seed.event(event_type, self.email, NOW)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample()


def event_of(xml: bytes) -> Event:
    """The event of a bare element, as an intake would make it."""
    (incoming,) = events_in(parse_xml(xml))
    given = incoming.attributes
    return Event(
        id=1,
        type=given["type"],
        queue=incoming.queue,
        channel="email",
        data={**given, **incoming.children},
        created=NOW,
        addresses={"email": given["email"]},
        language=given.get("language", ""),
        country=given.get("country", ""),
    )


def plain(text: str) -> str:
    return SPACES.sub(" ", text).strip()


def links(text: str) -> set[str]:
    return set(re.findall(r"https://[^\s<>]+", text))


def check_message(content: Content, language: str) -> None:
    """What holds for every message: two equal parts, in one language, that a mail program can show."""
    page, text, subject = content.parts["html"], content.parts["text"], str(content.fields["subject"])
    for rendered in (page, text, subject):
        for mark in ("{{", "}}", "{%", "{#", "None", "Undefined"):
            assert mark not in rendered
    assert subject == subject.strip() != ""
    assert "\n" not in subject
    assert "\n\n\n" not in text
    assert not re.search(r"</?\w+[ >]|&\w+;", text.replace("<ruled>", ""))

    document: Any = html.document_fromstring(page)
    assert document.get("lang") == language
    assert all(element.get("lang") == language for element in document.xpath("//*[@lang]"))
    assert {"color-scheme", "viewport"} <= set(document.xpath("//meta/@name"))
    assert "prefers-color-scheme: dark" in page
    (preheader,) = document.xpath("//div[@class='preheader']")
    assert len(plain(preheader.text_content().replace("\u034f", "").replace("\u200c", ""))) > 20
    assert plain(document.xpath("string(//title)"))
    assert len(document.xpath("//h1")) == 1
    (image,) = document.xpath("//img")
    assert image.get("src", "").startswith("cid:")
    assert image.get("alt")
    assert WHY[language[:2]] in page
    assert WHY[language[:2]] in text

    # nothing is fetched from elsewhere, and every link of one part is in the other
    assert not document.xpath("//link | //script | //iframe | //*[@background]")
    assert not re.search(r"url\(|@import", page)
    targets = {str(href) for href in document.xpath("//a/@href") if not str(href).startswith("mailto:")}
    assert targets == links(text)


@pytest.mark.parametrize("event_type", TYPES)
def test_every_seed_in_every_language(sample: Sample, event_type: str) -> None:
    draft, compiled = sample.load(event_type)
    compiled.check()
    assert set(compiled.languages) == {"en", "fr"}
    spoken = set()
    for event in sample.seed_events(event_type):
        spoken.add(event.language[:2])
        for wanted in ("", "en", "fr"):
            content = sample.render(event, wanted)
            check_message(content, wanted or compiled.language(event_language(event)))
    assert spoken == {"en", "fr"}
    assert draft.labels


@pytest.mark.parametrize("event_type", TYPES)
def test_the_sample_event(sample: Sample, event_type: str) -> None:
    event = event_of((CONFIG / "events" / f"{event_type}.xml").read_bytes())
    assert event.type == event_type
    assert event.queue is (Queue.BATCH if event_type == "account_statement" else Queue.REALTIME)
    content = sample.render(event)
    check_message(content, sample.load(event_type)[1].language(event_language(event)))


def test_there_is_a_folder_and_a_sample_event_for_each_type(sample: Sample) -> None:
    assert [key for key in sample.drafts.list() if key[1] == "email"] == [(event_type, "email") for event_type in TYPES]
    mailed = [path.stem for path in (CONFIG / "events").glob("*.xml") if "wishedChannel" not in path.read_text("utf-8")]
    assert {*mailed, "order_confirmation"} == set(TYPES)


@pytest.mark.parametrize("event_type", TYPES)
def test_both_languages_differ(sample: Sample, event_type: str) -> None:
    event = next(sample.seed_events(event_type))
    english, french = sample.render(event, "en"), sample.render(event, "fr")
    assert english.fields["subject"] != french.fields["subject"]
    assert english.parts["text"].splitlines()[2] != french.parts["text"].splitlines()[2]


def test_an_order_lists_every_line_and_the_total(sample: Sample) -> None:
    event = event_of((CONFIG / "events" / "order_confirmation.xml").read_bytes())
    content = sample.render(event)
    assert content.fields["subject"] == "Votre commande 30201 est confirmée"
    document: Any = html.document_fromstring(content.parts["html"])
    for shown in (plain(document.text_content()), plain(content.parts["text"])):
        for wanted in (
            "Merci, Éloïse !",
            "30201",
            "Cafetière à l’italienne",
            "Tasses à café & soucoupes, porcelaine",
            "6 × 7,90 €",
            "47,40 €",
            "94,80 €",
            "8 bis rue de l’Évêché",
        ):
            assert wanted in shown


def test_one_line_and_no_extras(sample: Sample) -> None:
    content = sample.render(
        event_of(
            b"""<rtEvent type="order_confirmation" email="a@example.com"><ctx><order number="7" currency="USD">
            <line sku="x"><name>Tea &lt;loose&gt;</name><quantity>3</quantity><price>0.10</price></line>
            <total>0.30</total></order></ctx></rtEvent>"""
        )
    )
    assert "Thank you for your order!" in content.parts["html"]
    assert "Tea &lt;loose&gt;" in content.parts["html"]
    assert "Tea <loose>\n  3 × $0.10 = $0.30" in content.parts["text"]
    assert "Delivery" not in content.parts["text"]


def test_a_statement_needs_only_its_month(sample: Sample) -> None:
    content = sample.render(
        event_of(
            b'<batchEvent type="account_statement" email="a@example.com"><ctx><month>2026-10</month></ctx></batchEvent>'
        )
    )
    check_message(content, "en")
    assert content.fields["subject"] == "Your statement for October 2026"
    assert "https://shop.example.com/account/statements?month=2026-10" in content.parts["text"]


def test_a_reset_link_is_shown_as_sent_but_never_in_the_inbox_list(sample: Sample) -> None:
    content = sample.render(
        event_of(
            b"""<rtEvent type="password_reset" email="a@example.com"><ctx><user login="ada"/>
            <link>https://shop.example.com/reset?k=8f2c&amp;u=ada</link></ctx></rtEvent>"""
        )
    )
    check_message(content, "en")
    assert "\nhttps://shop.example.com/reset?k=8f2c&u=ada\n" in content.parts["text"]
    document: Any = html.document_fromstring(content.parts["html"])
    assert document.xpath("//a[@href='https://shop.example.com/reset?k=8f2c&u=ada']")
    assert "8f2c" not in str(content.fields["subject"]) + document.xpath("string(//div[@class='preheader'])")


def test_every_parcel_has_its_own_link(sample: Sample) -> None:
    (seed,) = [one for one in sample.load("shipping_confirmation")[0].seeds if one.name == "two parcels, long names"]
    text = sample.render(seed.event("shipping_confirmation", sample.email, NOW)).parts["text"]
    assert "Parcel 1 of 2" in text
    assert "Parcel 2 of 2" in text
    assert len([link for link in links(text) if "RPO-1928" in link]) == 2


def test_a_reminder_can_be_stopped(sample: Sample) -> None:
    for event in sample.seed_events("cart_abandonment"):
        content = sample.render(event)
        stop = content.fields["headers"]["List-Unsubscribe"].strip("<>")
        assert stop in links(content.parts["text"])


@pytest.mark.parametrize("event_type", TYPES)
def test_another_brand_needs_no_other_template(sample: Sample, event_type: str) -> None:
    variables = {"name": "Gros Rouge", "url": "https://rouge.example.net/", "help": "aide@rouge.example.net"}
    for event in sample.seed_events(event_type):
        content = sample.render(event, brand=variables)
        for part in content.parts.values():
            assert "Petit Bleu Shop" not in part
            assert "aide@rouge.example.net" in part
        sent = repr(event.data["ctx"])
        assert all("rouge.example.net" in link or link in sent for link in links(content.parts["text"]))


@pytest.mark.parametrize("event_type", TYPES)
def test_the_logo_is_a_small_png(sample: Sample, event_type: str) -> None:
    logo = sample.load(event_type)[0].snapshot.files["logo.png"]
    assert logo.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(logo) < 5000
