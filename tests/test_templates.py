"""Drafts from files, snapshots, and the life of a template: publish, unpublish, roll back, list, compare."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from petitbleu import Channel, Operator, Part, Settings, TemplateError, TemplateRef
from petitbleu.audit import recorded
from petitbleu.operating import Actor, Published
from petitbleu.rendering import Renderer, Snapshot
from petitbleu.store import Store, open_store
from petitbleu.templates import DraftLimits, Drafts, Seed, Templates


class Attachment(Settings):
    file: str
    inline: bool = False


class Fields(Settings):
    subject: str
    sender: str = ""
    headers: Mapping[str, str] = {}
    attachments: Sequence[Attachment] = ()


ANN, BOB = (Actor(Operator(name, frozenset()), "cli") for name in ("ann", "bob"))
CHANNEL = Channel(
    "email", "email", Fields, parts=(Part("html", "body.html.j2", escape="html"), Part("text", "body.txt.j2"))
)
FILES: Mapping[str, str | bytes] = {
    "_layouts/base.html.j2": "{% import '_layouts/blocks.j2' as blocks %}<body>{% block body %}{% endblock %}</body>",
    "_layouts/blocks.j2": "{% macro bye() %}Bye{% endmacro %}",
    "_layouts/unused.j2": "{{ never }}",
    "order/email/template.yaml": """# the order
brand: shop
labels: [orders]
subject: "Order {{ rtEvent.ctx.order.number }}"
subject.fr: "Commande {{ rtEvent.ctx.order.number }}"
sender: no
attachments: [{file: logo.png, inline: true}]
""",
    "order/email/body.html.j2": "{% extends '_layouts/base.html.j2' %}{% block body %}{{ rtEvent.ctx.order.number }}"
    "{{ blocks.bye() }}{% endblock %}",
    "order/email/body.txt.j2": "Number {{ rtEvent.ctx.order.number }} for {{ brand.name }}",
    "order/email/body.fr.txt.j2": "Numéro {{ rtEvent.ctx.order.number }}",
    "order/email/logo.png": b"\x89PNG\x00",
    "order/email/.hidden": "x",
    "order/email/body.txt.j2~": "x",
    "order/email/seeds.yaml": """seeds:
  - name: one
    address: one@example.com
    language: fr
    country: CA
    attributes: {externalId: 0012, vip: true}
    ctx: {order: {"@number": 0030, line: [{price: 89.90}, {price: 1_0}], on: ~, when: 2026-11-23}}
  - name: two
    address: two@example.com
    ctx_xml: <ctx><order number="31"/></ctx>
""",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        write(tmp_path, name, content)
    return tmp_path


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def change(root: Path, old: str, new: str, file: str = "order/email/template.yaml") -> None:
    text = root.joinpath(file).read_text()
    assert old in text
    write(root, file, text.replace(old, new))


def drafts(root: Path, limits: DraftLimits = DraftLimits()) -> Drafts:
    return Drafts(root, [CHANNEL], limits)


def problems(root: Path, limits: DraftLimits = DraftLimits()) -> str:
    with pytest.raises(TemplateError) as caught:
        drafts(root, limits).load("order", "email")
    assert caught.value.where == "order/email"
    return caught.value.text


# ----------------------------------------------------------------------------------------------------- drafts


def test_a_draft_holds_the_folder_and_only_the_layouts_it_uses(root: Path) -> None:
    draft = drafts(root).load("order", "email")
    snapshot = draft.snapshot
    assert set(snapshot.shared) == {"_layouts/base.html.j2", "_layouts/blocks.j2"}
    assert dict(snapshot.files) == {"logo.png": b"\x89PNG\x00"}
    assert {name: set(variants) for name, variants in snapshot.parts.items()} == {"html": {""}, "text": {"", "fr"}}
    assert set(snapshot.fields["subject"]) == {"", "fr"}
    assert snapshot.fields["sender"] == {"": "no"}  # YAML 1.2
    assert (snapshot.meta.brand, snapshot.meta.missing, snapshot.meta.language) == ("shop", "strict", "en")
    assert draft.labels == ("orders",)
    assert snapshot.languages == ("en", "fr")


def test_seeds_are_texts_as_callers_xml_is(root: Path) -> None:
    one, two = drafts(root).load("order", "email").seeds
    assert one == Seed(
        "one",
        "one@example.com",
        "fr",
        "CA",
        {"externalId": "0012", "vip": "true"},
        {"order": {"@number": "0030", "line": [{"price": "89.90"}, {"price": "1_0"}], "on": "", "when": "2026-11-23"}},
    )
    assert two.ctx == {"order": {"@number": "31"}}
    event = one.event("order", CHANNEL, datetime(2026, 11, 23, tzinfo=UTC))
    assert event.data["email"] == "one@example.com"
    assert event.data["externalId"] == event.external_id == "0012"
    assert event.addresses == {"email": "one@example.com"}


def test_snapshots_survive_json(root: Path) -> None:
    snapshot = drafts(root).load("order", "email").snapshot
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.digest == snapshot.digest
    with pytest.raises(ValueError, match="format 2"):
        Snapshot.from_json(snapshot.to_json().replace('"format":1', '"format":2'))


def test_the_digest_is_of_what_is_sent(root: Path) -> None:
    def digest() -> str:
        return drafts(root).load("order", "email").snapshot.digest

    first = digest()
    change(root, "# the order", "# another comment\n\n")
    change(root, "labels: [orders]", "labels: [orders, shop]")
    change(root, "name: one", "name: uno", "order/email/seeds.yaml")
    write(root, "_layouts/unused.j2", "changed")
    assert digest() == first
    write(root, "_layouts/blocks.j2", "{% macro bye() %}Good bye{% endmacro %}")
    second = digest()
    write(root, "order/email/logo.png", b"other")
    assert len({first, second, digest()}) == 3


TEMPLATE, SEEDS, TEXT = "order/email/template.yaml", "order/email/seeds.yaml", "order/email/body.txt.j2"


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        (
            TEMPLATE,
            "subjekt: x",
            "yaml:1: the channel email has no field 'subjekt': did you mean 'subject'?",
        ),
        (
            TEMPLATE,
            "subject: x\nzzz: 1",
            "template.yaml:2: the channel email has no field 'zzz': it has attachments",
        ),
        (TEMPLATE, "subject: x\nsubject: y", "template.yaml:2:1: subject: is given twice"),
        (TEMPLATE, "subject: x\nsubject.FR-ca: y", "template.yaml:2: write the language as 'fr-CA'"),
        (
            TEMPLATE,
            "\nmissing: strickt",
            'yaml:2: missing must be strict, empty or {default: "text"}',
        ),
        (TEMPLATE, "language: german", "template.yaml:1: language must be a language tag"),
        (TEMPLATE, "labels: x", "template.yaml:1: labels must be a list of texts"),
        (TEMPLATE, "- x", "template.yaml:1: the file must be a mapping"),
        (TEMPLATE, "a: [", "template.yaml:"),
        (TEMPLATE, 'subject: "{% if %}"', "template.yaml: subject:1: "),
        (TEMPLATE, b"\xff", "template.yaml: not UTF-8 (byte 0)"),
        (SEEDS, "seed: []", "seeds.yaml:1: the file must hold `seeds:`"),
        (SEEDS, "seeds:\n  - name: x", "seeds.yaml:2: a seed needs 'address'"),
        (
            SEEDS,
            "seeds:\n  - nane: x\n    address: y",
            "seeds.yaml:2: a seed has no 'nane': did you mean 'name'?",
        ),
        (
            SEEDS,
            "seeds:\n" + "  - {name: x, address: y}\n" * 2,
            "seeds.yaml:3: a second seed named 'x'",
        ),
        (
            SEEDS,
            "seeds:\n  - {name: x, address: y, attributes: {a: {b: c}}}",
            "attributes must be names with texts",
        ),
        (SEEDS, "seeds:\n  - {name: x, address: y, ctx_xml: <a>}", "seeds.yaml:2: ctx_xml: (1:"),
        (
            SEEDS,
            "seeds:\n  - {name: x, address: y, ctx_xml: <a/>, ctx: {}}",
            "either ctx or ctx_xml",
        ),
        (
            "order/email/bodi.html.j2",
            "x",
            "not a part of the channel email: did you mean 'body.html.j2'?",
        ),
        ("order/email/body.fr_ca.html.j2", "x", "body.fr_ca.html.j2: write the language as 'fr-CA'"),
        (TEXT, "a\n{% endif %}", "order/email/body.txt.j2:2: "),
        (
            "order/email/body.txt.j2",
            "{% include name %}",
            "txt.j2:1: the name of a layout or block must be written out",
        ),
        (TEXT, "{% include ['_layouts/a.j2'] %}", "must be written out"),
        (
            "order/email/body.txt.j2",
            "{% include '_layouts/bloks.j2' %}",
            "no '_layouts/bloks.j2': did you mean '_layouts/blocks.j2'?",
        ),
        (TEXT, "{% include 'body.html.j2' %}", "'body.html.j2' must be a file in _layouts/"),
        (
            "order/email/body.txt.j2",
            "{% include '_layouts/../order/email/seeds.yaml' %}",
            "must be a file in _layouts/",
        ),
        (TEXT, "{% include '/etc/passwd' %}", "'/etc/passwd' must be a file in _layouts/"),
        (
            "_layouts/blocks.j2",
            "\n{% include '_layouts/gone.j2' %}",
            "blocks.j2:2: there is no '_layouts/gone.j2'",
        ),
    ],
)
def test_what_is_wrong_with_a_draft(root: Path, file: str, content: str | bytes, text: str) -> None:
    write(root, file, content)
    assert text in problems(root)


def test_every_problem_is_told_at_once(root: Path) -> None:
    change(root, "sender: no", "sendr: no")
    write(root, "order/email/body.txt.j2", "{% include '_layouts/gone.j2' %}")
    write(root, "order/email/extra.j2", "")
    assert len(problems(root).splitlines()) == 3


def test_a_draft_needs_its_yaml_and_something_to_render(root: Path) -> None:
    for name in ("template.yaml", "body.html.j2", "body.txt.j2", "body.fr.txt.j2"):
        root.joinpath("order/email", name).unlink()
    assert problems(root) == (
        "template.yaml is missing\nthere is nothing to render; the channel has body.html.j2, body.txt.j2"
    )


def test_symbolic_links_are_refused(root: Path) -> None:
    outside = root / "secret"
    outside.write_text("secret")
    os.symlink(outside, root / "order/email/terms.pdf")
    os.symlink(outside, root / "_layouts/link.j2")
    change(root, "Number", "{% include '_layouts/link.j2' %}", "order/email/body.txt.j2")
    assert problems(root) == (
        "terms.pdf: a symbolic link; put the file itself here\n"
        "order/email/body.txt.j2:1: '_layouts/link.j2' is a symbolic link"
    )
    os.symlink(root / "order", root / "linked")
    with pytest.raises(TemplateError, match="a symbolic link"):
        drafts(root).load("linked", "email")


@pytest.mark.parametrize("name", ["..", ".", "", "order/email", "a\\b", "../order"])
def test_names_cannot_leave_the_folder(root: Path, name: str) -> None:
    with pytest.raises(TemplateError, match=r"not a name of a template|no such draft"):
        drafts(root).load(name, "email")


def test_unknown_drafts_and_channels(root: Path) -> None:
    with pytest.raises(TemplateError, match="order2/email: there is no such draft"):
        drafts(root).load("order2", "email")
    with pytest.raises(TemplateError, match="no plugin provides the channel 'emial': did you mean 'email'"):
        drafts(root).load("order", "emial")


def test_sizes_are_capped(root: Path) -> None:
    assert "body.html.j2: more than 10 bytes" in problems(root, DraftLimits(source=10))
    assert "logo.png: more than 3 bytes" in problems(root, DraftLimits(file=3))
    assert "the template has more than 50 bytes" in problems(root, DraftLimits(total=50))
    assert "more than 2 files" in problems(root, DraftLimits(files=2))


def test_drafts_are_listed(root: Path) -> None:
    write(root, "reset/email/template.yaml", "")
    write(root, ".git/x/y", "")
    assert drafts(root).list() == [("order", "email"), ("reset", "email")]
    assert drafts(root / "nowhere").list() == []


# --------------------------------------------------------------------------------------------------- publishing


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def templates(store: Store) -> Templates:
    renderer = Renderer([CHANNEL], lambda environment, channel: None)
    return Templates(store, renderer, Clock(), lambda event_type, asked: {"name": f"Brand {asked}"})


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Templates]:
    async with open_store(database_url) as opened:
        yield templates(opened)


async def publish(store: Templates, root: Path) -> Published:
    return await store.publish(drafts(root).load("order", "email"), ANN)


async def text(store: Templates, language: str = "") -> str:
    ref = await store.resolve("order", "email", language)
    assert ref is not None
    seed = Seed("x", "x@example.com", ctx={"order": {"@number": "7"}})
    return (await store.preview(ref, seed, language))[1].parts["text"]


async def test_publishing_freezes_everything(store: Templates, root: Path) -> None:
    assert store.current("order", "email") is None
    assert await store.resolve("order", "email", "fr") is None
    assert await publish(store, root) == Published(1, True)
    before = await text(store), await text(store, "fr")
    assert before == ("Number 7 for Brand shop", "Numéro 7")
    for name in FILES:
        if name.endswith(".j2"):
            write(root, name, "{{ broken")
    assert (await text(store), await text(store, "fr")) == before
    _, content = await store.preview(
        TemplateRef("order", "email", 1), Seed("x", "x@example.com", ctx={"order": {"@number": "7"}})
    )
    assert content.parts["html"] == "<body>7Bye</body>"
    assert content.files == {"logo.png": b"\x89PNG\x00"}
    assert content.fields["subject"] == "Order 7"


async def test_identical_content_publishes_nothing_new(store: Templates, root: Path) -> None:
    assert await publish(store, root) == Published(1, True)
    assert await publish(store, root) == Published(1, False)
    change(root, "labels: [orders]", "labels: []")
    assert await publish(store, root) == Published(1, False)
    change(root, "Number", "No.", "order/email/body.txt.j2")
    assert await publish(store, root) == Published(2, True)
    change(root, "No.", "Number", "order/email/body.txt.j2")
    assert await publish(store, root) == Published(1, True)
    assert store.current("order", "email") == 1
    assert [version.number for version in await store.versions("order", "email")] == [1, 2]


async def test_unpublish_and_publish_again(store: Templates, root: Path) -> None:
    await publish(store, root)
    await store.unpublish("order", "email", BOB)
    assert store.current("order", "email") is None
    assert await store.resolve("order", "email", "") is None
    with pytest.raises(TemplateError, match="order/email: is not published"):
        await store.unpublish("order", "email", BOB)
    assert await publish(store, root) == Published(1, True)


async def test_an_emptied_field_is_empty(store: Templates, root: Path) -> None:
    await publish(store, root)
    change(root, "attachments: [{file: logo.png, inline: true}]", "")
    await publish(store, root)
    ref = await store.resolve("order", "email", "")
    assert ref is not None
    _, content = await store.preview(ref, Seed("x", "x@example.com", ctx={"order": {"@number": "7"}}))
    assert content.fields["attachments"] == ()


async def test_rollback(store: Templates, root: Path) -> None:
    await publish(store, root)
    change(root, "Number", "No.", "order/email/body.txt.j2")
    await publish(store, root)
    assert await text(store) == "No. 7 for Brand shop"
    assert await store.rollback("order", "email", 1, BOB) == Published(1, True)
    assert await text(store) == "Number 7 for Brand shop"
    assert await store.rollback("order", "email", 1, BOB) == Published(1, False)
    with pytest.raises(TemplateError, match="has no version 3; there are 1, 2"):
        await store.rollback("order", "email", 3, BOB)
    with pytest.raises(TemplateError, match="reset/email: was never published"):
        await store.rollback("reset", "email", 1, BOB)
    one, two = await store.versions("order", "email")
    assert (one.current, two.current, one.created_by) == (True, False, "ann")
    assert one.created < two.created
    await store.unpublish("order", "email", BOB)
    audited = await recorded(store._store)
    assert [(one.by, one.origin, one.action, one.object, one.detail) for one in audited] == [
        ("bob", "cli", "templates.unpublish", "order/email", {"version": None, "before": 1}),
        ("bob", "cli", "templates.rollback", "order/email", {"version": 1, "before": 2}),
        ("ann", "cli", "templates.publish", "order/email", {"version": 2, "before": 1}),
        ("ann", "cli", "templates.publish", "order/email", {"version": 1, "before": None}),
    ]


async def test_another_process_sees_it_after_a_refresh(store: Templates, root: Path) -> None:
    other = templates(store._store)
    await other.refresh()
    await publish(store, root)
    assert other.current("order", "email") is None
    await other.refresh()
    assert other.current("order", "email") == 1
    await store.unpublish("order", "email", BOB)
    await other.refresh()
    assert other.current("order", "email") is None


async def test_a_version_is_compiled_once(store: Templates, root: Path) -> None:
    await publish(store, root)
    ref = TemplateRef("order", "email", 1)
    assert await store.compiled(ref) is await store.compiled(TemplateRef("order", "email", 1, "fr"))
    with pytest.raises(TemplateError, match="has no version 9"):
        await store.compiled(TemplateRef("order", "email", 9))


@pytest.mark.parametrize(("wanted", "language"), [("", "en"), ("fr", "fr"), ("fr-CA", "fr-CA"), ("de", "en")])
async def test_resolving_names_the_language(store: Templates, root: Path, wanted: str, language: str) -> None:
    await publish(store, root)
    assert await store.resolve("order", "email", wanted) == TemplateRef("order", "email", 1, language, "shop")


async def test_a_template_that_fails_is_not_published(store: Templates, root: Path) -> None:
    change(root, "for {{ brand.name }}", "{{ rtEvent.ctx.nothing }}", "order/email/body.txt.j2")
    with pytest.raises(
        TemplateError, match=r"seed 'two': order/email/body\.txt\.j2:1: rtEvent\.ctx\.nothing is missing"
    ):
        await publish(store, root)
    change(root, "{{ rtEvent.ctx.nothing }}", "", "order/email/body.txt.j2")
    change(root, "inline: true", "inline: perhaps")
    with pytest.raises(TemplateError, match=r"seed 'one': order/email/template\.yaml: attachments\.0\.inline"):
        await publish(store, root)
    assert await store.versions("order", "email") == []


async def test_a_language_without_a_seed_is_tried_too(store: Templates, root: Path) -> None:
    write(root, "order/email/body.de.txt.j2", "Nummer {{ rtEvent.ctx.nummer }}")
    with pytest.raises(
        TemplateError, match=r"seed 'one', in de: order/email/body\.de\.txt\.j2:1: rtEvent\.ctx\.nummer"
    ):
        await publish(store, root)


async def test_nothing_is_published_without_a_seed(store: Templates, root: Path) -> None:
    root.joinpath("order/email/seeds.yaml").unlink()
    with pytest.raises(TemplateError, match="no seed"):
        await publish(store, root)


async def test_the_list_tells_drafts_from_what_is_published(store: Templates, root: Path) -> None:
    async def states() -> list[tuple[Any, ...]]:
        found = await store.list(drafts(root))
        return [(state.event_type, state.version, state.draft, state.labels) for state in found]

    assert await states() == [("order", None, "new", ("orders",))]
    await publish(store, root)
    assert await states() == [("order", 1, "published", ("orders",))]
    change(root, "Number", "No.", "order/email/body.txt.j2")
    assert await states() == [("order", 1, "changed", ("orders",))]
    change(root, "No.", "{% if %}", "order/email/body.txt.j2")
    assert await states() == [("order", 1, "broken", ())]
    for file in root.joinpath("order/email").iterdir():
        file.unlink()
    root.joinpath("order/email").rmdir()
    assert await states() == [("order", 1, "none", ())]
    await store.unpublish("order", "email", BOB)
    assert await states() == []


async def test_diff(store: Templates, root: Path) -> None:
    await publish(store, root)
    change(root, "Number", "No.", "order/email/body.txt.j2")
    change(root, "sender: no", "sender: shop@example.com")
    write(root, "order/email/logo.png", b"other image")
    write(root, "order/email/body.de.txt.j2", "Nummer")
    published = await store.show("order", "email", 1)
    draft = drafts(root).load("order", "email").snapshot
    lines = published.diff(draft, "v1", "draft").splitlines()
    assert "-Number {{ rtEvent.ctx.order.number }} for {{ brand.name }}" in lines
    assert "+No. {{ rtEvent.ctx.order.number }} for {{ brand.name }}" in lines
    assert "+Nummer" in lines
    assert "+sender: shop@example.com" in lines
    assert any(line.startswith("-5 bytes, sha256 ") for line in lines)
    assert any(line.startswith("+11 bytes, sha256 ") for line in lines)
    assert "--- v1/text" in lines
    assert not any("subject" in line for line in lines if line.startswith(("+", "-")))
    assert draft.diff(draft) == ""
    shown = published.to_text()
    assert "==> text.fr\nNuméro {{ rtEvent.ctx.order.number }}\n" in shown
    assert "==> logo.png\n5 bytes, sha256 " in shown


async def test_warming_compiles_what_is_published_once(store: Templates, root: Path) -> None:
    await publish(store, root)
    await store.warm()
    ref = await store.resolve("order", "email", "")
    assert ref is not None
    compiled = await store.compiled(ref)
    await store.warm()
    assert await store.compiled(ref) is compiled
