"""Rendering: data walking, missing values, escaping by part, languages, and what no template can do."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import pass_context
from markupsafe import escape
from petitbleu import Channel, Content, Event, Part, Queue, Settings, TemplateError, element_data, elements, parse_xml
from petitbleu.rendering import Renderer, RenderLimits, event_context
from petitbleu.rendering.snapshots import DefaultText, Meta, Snapshot


class Attachment(Settings):
    file: str
    inline: bool = False


class Fields(Settings):
    subject: str = ""
    headers: Mapping[str, str] = {}
    attachments: Sequence[Attachment] = ()


CHANNEL = Channel(
    name="email",
    address="email",
    fields=Fields,
    parts=(Part("html", "body.html.j2", escape="html"), Part("text", "body.txt.j2")),
)
XML = b"""<ctx lang="en"><client num="7"><firstname>Zo\xc3\xab &amp; Co</firstname><title>Dr</title></client>
<order total="98.20"><items><article num="1"><num>own</num><price>89.90</price></article>
<article num="2"><price>8.30</price></article></items><note>call <b>first</b></note><empty/></order></ctx>"""
CTX = element_data(parse_xml(XML))


def snapshot(
    text: str = "",
    html: str | None = None,
    meta: Meta | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    shared: Mapping[str, str] | None = None,
) -> Snapshot:
    parts = {"text": {"": text}}
    if html is not None:
        parts["html"] = {"": html}
    return Snapshot("order", "email", meta or Meta(), fields or {}, parts, {}, shared or {})


def renderer(limits: RenderLimits = RenderLimits(), **options: Any) -> Renderer:
    return Renderer([CHANNEL], lambda environment, channel: None, limits, **options)


def render_all(content: Snapshot, ctx: Any = CTX, language: str = "en", **options: Any) -> Content:
    data = {"rtEvent": elements({"email": "zoe@example.com", "ctx": ctx})}
    return renderer(**options).compile(content).render(language, data)


def render(text: str, ctx: Any = CTX, meta: Meta | None = None, **options: Any) -> str:
    return render_all(snapshot(text, meta=meta), ctx, **options).parts["text"]


def problem(text: str, ctx: Any = CTX, meta: Meta | None = None, **options: Any) -> str:
    with pytest.raises(TemplateError) as caught:
        render(text, ctx, meta, **options)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- walking data


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ rtEvent.email }}", "zoe@example.com"),
        ("{{ rtEvent.ctx.client.firstname }}", "Zoë & Co"),
        ("{{ rtEvent['ctx']['client']['firstname'] }}", "Zoë & Co"),
        ("{{ rtEvent.ctx.client.num }} {{ rtEvent.ctx.client['@num'] }}", "7 7"),
        ("{{ rtEvent.ctx.lang }}", "en"),
        ("{{ rtEvent.ctx.order.items.article[0].num }}", "own"),
        ("{{ rtEvent.ctx.order.items.article[0]['@num'] }}", "1"),
        ("{{ rtEvent.ctx.client.title }}", "Dr"),
        ("{{ rtEvent.ctx.order.note }}", "call first"),
        ("{{ rtEvent.ctx.order.note.b }}", "first"),
        ("[{{ rtEvent.ctx.order.empty }}]", "[]"),
        ("{{ rtEvent.ctx.client.firstname[:3] }}", "Zoë"),
        ("{% for a in rtEvent.ctx.order.items.article %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 "),
        ("{{ rtEvent.ctx.order.items.article|map(attribute='price')|join('+') }}", "89.90+8.30"),
        ("{{ rtEvent.ctx.order.items.article|sum(attribute='price') }}", "98.20"),
        ("{{ rtEvent.ctx.order.items.article|selectattr('num', 'eq', 'own')|map(attribute='price')|first }}", "89.90"),
        ("{{ rtEvent.ctx.order.total|decimal * 2 }}", "196.40"),
        ("{{ rtEvent.ctx.order.total|decimal - 0.2 }}", "98.00"),
        ("{% for name, value in rtEvent.ctx.client|items %}{{ name }} {% endfor %}", "@num firstname title "),
        ("{{ rtEvent.ctx.client.firstname.startswith('Zo') }}", "true"),
        ("{{ true }} {{ false }} [{{ none }}] {{ 12.5 }} {{ 'paid: ' ~ true }}", "true false [] 12.5 paid: true"),
        ("{{ 'a-b'.split('-')|last }}", "b"),
        ("{{ 'abc'|length }} {{ 'abc'|characters }}", "1 3"),
    ],
)
def test_walks(template: str, expected: str) -> None:
    assert render(template) == expected


def test_data_never_shows_methods_of_python() -> None:
    ctx = {"order": {"items": "three", "keys": {"get": "k"}, "count": "9"}}
    assert render(
        "{{ rtEvent.ctx.order.items }} {{ rtEvent.ctx.order.keys.get }} {{ rtEvent.ctx.order.count }}", ctx
    ) == ("three k 9")
    assert "rtEvent.ctx.name.title is missing" in problem("{{ rtEvent.ctx.name.title }}", {"name": "text"})
    assert "rtEvent.ctx.values is missing" in problem("{{ rtEvent.ctx.values() }}", {"name": "text"})


ONE_AS_MANY = """{% for a in rtEvent.ctx.a %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}:{{ a }};{% endfor %}
{{ rtEvent.ctx.a|length }} {{ rtEvent.ctx.a|first }} {{ rtEvent.ctx.a|last }} {{ rtEvent.ctx.a|join("+") }}
{{ rtEvent.ctx.a|map("upper")|join("+") }} {{ rtEvent.ctx.a|list|length }} {{ rtEvent.ctx.a|sort|join }}
{{ rtEvent.ctx.a|reverse|join }} {{ rtEvent.ctx.a|unique|join }} {{ rtEvent.ctx.a|batch(2)|length }}"""


def test_one_child_works_like_a_list_of_one() -> None:
    assert render(ONE_AS_MANY, {"a": "xy"}) == render(ONE_AS_MANY, {"a": ["xy"]})
    element = {"a": {"@name": "n", "#text": "xy"}}
    assert render(ONE_AS_MANY, element) == render(ONE_AS_MANY, {"a": ["xy"]})
    walk = "{{ rtEvent.ctx.a|map(attribute='b')|join }}{{ rtEvent.ctx.a|sum(attribute='b') }}{{ rtEvent.ctx.a[0].b }}"
    assert render(walk, {"a": {"b": "5"}}) == render(walk, {"a": [{"b": "5"}]}) == "555"


@given(st.lists(st.text(), min_size=2, max_size=5))
def test_lists_come_out_as_they_went_in(values: list[str]) -> None:
    out = render("{% for v in rtEvent.ctx.v %}{{ v }}\x00{% endfor %}", {"v": values})
    assert out == "".join(f"{value}\x00" for value in values)


@given(st.text())
def test_html_is_always_escaped(value: str) -> None:
    content = render_all(snapshot("{{ rtEvent.ctx.v }}", html="<p>{{ rtEvent.ctx.v }}</p>"), {"v": value})
    assert content.parts["html"] == f"<p>{escape(value)}</p>"
    assert content.parts["text"] == value


def test_recursive_loops_treat_one_child_like_many() -> None:
    tree = {"node": {"name": "a", "node": [{"name": "b"}, {"name": "c", "node": {"name": "d"}}]}}
    walk = "{% for n in rtEvent.ctx.node recursive %}{{ n.name }}({{ loop(n.node|default([])) }}){% endfor %}"
    assert render(walk, tree) == "a(b()c(d()))"


def test_loop_filters_and_else() -> None:
    assert render("{% for n in rtEvent.ctx.n if n != 'b' %}{{ n }}{% else %}none{% endfor %}", {"n": "b"}) == "none"
    assert render("{% for n in none %}x{% else %}none{% endfor %}") == "none"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ rtEvent.ctx.order.items }}", "an element with children cannot be printed: name one of article"),
        ("{{ rtEvent.ctx.order.items.article }}", "a list cannot be printed"),
        ("{{ range }}", "a function cannot be printed"),
        ("{{ rtEvent.ctx.order.total * 2 + 1 + 'x' }}", "cannot calculate"),
        ("{{ rtEvent.ctx.order.total + 1 }}", "cannot calculate text + int"),
        ("{{ rtEvent.ctx.order.items.article.price }}", "is a list, so loop over it or use the filter first"),
        (
            "{{ rtEvent.ctx.client.firstname|decimal }}",
            "rtEvent.ctx.client.firstname|decimal: this text is not a number",
        ),
    ],
)
def test_mistakes_are_explained(template: str, text: str) -> None:
    assert text in problem(template)


def test_errors_show_no_data() -> None:
    assert "Zoë" not in problem("{{ rtEvent.ctx.client.firstname|money('EUR') }}")
    assert "Zoë" not in problem("{{ rtEvent.ctx.client.firstname|date }}")


# ----------------------------------------------------------------------------------------------- missing values

USES = [
    "{{ rtEvent.ctx.order.vat.rate }}",
    "{% for r in rtEvent.ctx.order.vat.rate %}{% endfor %}",
    "{% if rtEvent.ctx.order.vat.rate %}{% endif %}",
    "{% if rtEvent.ctx.order.vat.rate == 'x' %}{% endif %}",
    "{% if rtEvent.ctx.order.vat.rate > 3 %}{% endif %}",
    "{% if 'x' in rtEvent.ctx.order.vat.rate %}{% endif %}",
    "{% if rtEvent.ctx.order.vat.rate is string %}{% endif %}",
    "{{ rtEvent.ctx.order.vat.rate|upper }}",
    "{{ rtEvent.ctx.order.vat.rate|money('EUR') }}",
    "{{ rtEvent.ctx.order.vat.rate|join }}",
    "{{ rtEvent.ctx.order.vat.rate|length }}",
    "{{ rtEvent.ctx.order.vat.rate + 1 }}",
    "{{ 1 + rtEvent.ctx.order.vat.rate }}",
    "{{ 'a' ~ rtEvent.ctx.order.vat.rate }}",
    "{{ rtEvent.ctx.order.vat['rate'] }}",
    "{{ 'x'|replace('x', rtEvent.ctx.order.vat.rate) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(rtEvent.ctx.order.vat.rate) }}",
    "{% set x = rtEvent.ctx.order.vat.rate %}{{ x }}",
]


@pytest.mark.parametrize("use", USES)
def test_strict_names_the_path_and_the_line(use: str) -> None:
    text = problem("first line\n" + use)
    assert text.startswith("order/email/body.txt.j2:2: ")
    assert "rtEvent.ctx.order.vat" in text
    assert "rate" in text
    assert "is missing (there is no rtEvent.ctx.order.vat)" in text


@pytest.mark.parametrize("use", USES)
def test_empty_never_fails(use: str) -> None:
    assert render(use, meta=Meta(missing="empty")) in ("", "a")


def test_default_text_is_printed() -> None:
    meta = Meta(missing=DefaultText(default="<n/a>"))
    content = render_all(snapshot("{{ rtEvent.x.y }}{{ rtEvent.x|upper }}", html="{{ rtEvent.x }}", meta=meta))
    assert content.parts == {"text": "<n/a><n/a>", "html": "&lt;n/a&gt;"}


@pytest.mark.parametrize("missing", ["strict", "empty"])
def test_defined_and_default_work_at_any_depth(missing: Any) -> None:
    template = (
        "{{ rtEvent.a.b.c|default('none') }} {{ rtEvent.a.b is defined }} {{ rtEvent.a.b.c is undefined }}"
        " {{ rtEvent.ctx.client.firstname is defined }} {{ a.b['c']|default('x') }}"
        " {{ rtEvent.ctx.order.empty|default('blank', true) }}"
    )
    assert render(template, meta=Meta(missing=missing)) == "none false true true x blank"


def test_first_of_nothing_is_missing() -> None:
    assert "the list is empty" in problem("{{ []|first }}")
    assert render("{{ []|first|default('none') }}") == "none"


def test_a_field_names_its_key() -> None:
    content = snapshot("x", fields={"subject": {"": "ok", "fr": "Commande {{ rtEvent.ctx.numero }}"}})
    with pytest.raises(
        TemplateError, match=r"order/email/template\.yaml: subject\.fr:1: rtEvent\.ctx\.numero is missing"
    ):
        render_all(content, language="fr")


def test_the_line_is_that_of_the_layout_or_block() -> None:
    shared = {
        "_layouts/base.txt.j2": "one\n{% block body %}{% endblock %}\n{{ brand.name }}",
        "_layouts/blocks.j2": "\n\n{% macro m(x) %}\n{{ x.y }}{% endmacro %}",
    }
    extends = snapshot("{% extends '_layouts/base.txt.j2' %}", shared=shared)
    with pytest.raises(TemplateError, match=r"^_layouts/base\.txt\.j2:3: brand\.name is missing"):
        render_all(extends)
    imports = snapshot("{% from '_layouts/blocks.j2' import m %}\n{{ m(rtEvent) }}", shared=shared)
    with pytest.raises(TemplateError, match=r"^_layouts/blocks\.j2:4: x\.y is missing"):
        render_all(imports)


def test_syntax_errors_have_a_line() -> None:
    assert problem("a\n{% if %}").startswith("order/email/body.txt.j2:2: ")
    assert "No filter named 'monny'" in problem("{{ 1|monny }}")
    deep = "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"
    assert problem(deep).startswith("order/email/body.txt.j2")


# -------------------------------------------------------------------------------------- parts, fields, languages


def test_layouts_escape_by_the_part_they_are_used_from() -> None:
    shared = {"_layouts/base.j2": "[{% block body %}{% endblock %}{{ rtEvent.ctx.v }}]"}
    source = "{% extends '_layouts/base.j2' %}{% block body %}{{ rtEvent.ctx.v }}{% endblock %}"
    content = render_all(snapshot(source, html=source, shared=shared), {"v": "<b>"})
    assert content.parts == {"html": "[&lt;b&gt;&lt;b&gt;]", "text": "[<b><b>]"}


def test_concatenation_and_captures_escape_once() -> None:
    html = "{% set x %}<i>{{ rtEvent.ctx.v }}</i>{% endset %}{{ x }}{{ '<' ~ rtEvent.ctx.v }}{{ '<u>'|safe ~ '<' }}"
    assert render_all(snapshot(html=html), {"v": "&"}).parts["html"] == "<i>&amp;</i>&lt;&amp;<u>&lt;"


def test_imported_macros_see_the_event() -> None:
    shared = {"_layouts/b.j2": "{% macro hello() %}Hi {{ rtEvent.email }} in {{ language }}{% endmacro %}"}
    assert render_all(snapshot("{% import '_layouts/b.j2' as b %}{{ b.hello() }}", shared=shared)).parts["text"] == (
        "Hi zoe@example.com in en"
    )


def test_fields_are_rendered_and_typed() -> None:
    fields: dict[str, dict[str, Any]] = {
        "subject": {"": "For {{ rtEvent.ctx.client.firstname }}"},
        "headers": {"": {"X-Order": "{{ rtEvent.ctx.order.total }}", "X-Fixed": "<1>"}},
        "attachments": {"": [{"file": "logo.png", "inline": True}, {"file": "{{ 'terms' }}.pdf"}]},
    }
    assert render_all(snapshot("x", fields=fields)).fields == {
        "subject": "For Zoë & Co",
        "headers": {"X-Order": "98.20", "X-Fixed": "<1>"},
        "attachments": [{"file": "logo.png", "inline": True}, {"file": "terms.pdf", "inline": False}],
    }
    with pytest.raises(TemplateError, match=r"attachments\.0\.inline: Input should be a valid boolean"):
        render_all(snapshot("x", fields={"attachments": {"": [{"file": "a", "inline": "{{ 'maybe' }}"}]}}))


LANGUAGES = Snapshot(
    "order",
    "email",
    Meta(),
    {"subject": {"": "en {{ language }}", "fr-CA": "fr-CA {{ language }}"}},
    {"text": {"": "Total {{ 1234.5|number(2) }}", "fr": "Somme {{ 1234.5|number(2) }}"}},
)


@pytest.mark.parametrize(
    ("wanted", "text", "subject"),
    [
        ("", "Total 1,234.50", "en en"),
        ("en", "Total 1,234.50", "en en"),
        ("en-GB", "Total 1,234.50", "en en-GB"),
        ("fr", "Somme 1\u202f234,50", "en fr"),
        ("fr-BE", "Somme 1\u202f234,50", "en fr-BE"),
        ("fr_ca", "Somme 1\u00a0234,50", "fr-CA fr-CA"),
        ("de", "Total 1,234.50", "en en"),
        ("<x>", "Total 1,234.50", "en en"),
    ],
)
def test_each_part_and_field_falls_back_by_itself(wanted: str, text: str, subject: str) -> None:
    content = render_all(LANGUAGES, language=wanted)
    assert (content.parts["text"], content.fields["subject"]) == (text, subject)


def test_languages_are_listed_with_the_default_first() -> None:
    assert renderer().compile(LANGUAGES).languages == ("en", "fr", "fr-CA")


def test_an_exact_default_is_better_than_a_parent() -> None:
    content = Snapshot("o", "email", Meta(language="fr-CA"), {}, {"text": {"": "Québec", "fr": "France"}})
    assert render_all(content, language="fr-CA").parts["text"] == "Québec"
    assert render_all(content, language="fr-BE").parts["text"] == "France"


DOCS = Path(__file__).parent.parent / "docs" / "templates.md"


def test_the_documentation_is_right() -> None:
    page = DOCS.read_text(encoding="utf-8")
    found = re.search(r"```xml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    ctx = element_data(parse_xml(found[1].encode()))
    examples = re.findall(r"```jinja\n(.*?)\n```\n```text\n(.*?)\n```", page, re.DOTALL)
    assert len(examples) == page.count("```jinja") == 6
    for template, expected in examples:
        assert render(template, ctx) == expected
    rows = re.findall(r"^\| `\w+\(\w+\)` \| `(.*?)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for expression, *expected_in in rows:
        template = "{{ " + expression.replace("\\|", "|") + " }}"
        content = Snapshot("order", "email", Meta(), {}, {"text": {"": template, "fr": template}})
        for language, expected in zip(("en", "fr"), expected_in, strict=True):
            shown = render_all(content, language=language).parts["text"]
            assert shown.replace("\u00a0", " ").replace("\u202f", " ") == expected


def test_event_context() -> None:
    created = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
    event = Event(72057594037935966, "order", Queue.REALTIME, "email", {"email": "a@b.example", "ctx": CTX}, created)
    text = (
        "{{ event.id }} {{ event.type }} {{ event.created|date('yyyy') }} {{ rtEvent.email == batchEvent.email }}"
        " {{ brand.name }} {{ instance.public_url }} {{ rtEvent.ctx.client.num }}"
    )
    compiled = renderer(instance={"name": "n", "public_url": "https://m.example"}).compile(snapshot(text))
    assert compiled.render("en", event_context(event, {"name": "Shop"})).parts["text"] == (
        "72057594037935966 order 2026 true Shop https://m.example 7"
    )


def test_plugins_add_filters_and_tests() -> None:
    def shout(value: str) -> str:
        return value.upper() + "!"

    @pass_context
    def greet(context: Any, value: str) -> str:
        return f"{context['language']}:{value}"

    def prepare(environment: Any, channel: str) -> None:
        environment.filters |= {"shout": shout, "greet": greet}
        environment.tests["loud"] = str.isupper

    compiled = Renderer([CHANNEL], prepare).compile(snapshot("{{ 'a'|shout|greet }} {{ 'A' is loud }}"))
    assert compiled.render("en", {}).parts["text"] == "en:A! true"


# ------------------------------------------------------------------------------------- what no template can do

BIG = "{% set b = 'x' * 1000000 %}"
NEST = "{% set ns = namespace(l=['x'], m=['x']) %}{% for i in range(60) %}"

ATTACKS = {
    "range": "{% for i in range(1000000000) %}{% endfor %}",
    "range of huge numbers": "{% for i in range(10**18, 10**19) %}{% endfor %}",
    "nested loops without output": "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
    "nested loops with output": "{% for a in range(9000) %}{% for b in range(9000) %}x{% endfor %}{% endfor %}",
    "text times number": "{{ 'x' * 10**9 }}",
    "number times text": "{{ 10**9 * 'x' }}",
    "list times number": "{% set l = [0] * 10**9 %}",
    "power": "{{ 10**10**8 }}",
    "power of power": "{% set x = 10**70 %}{{ x * x }}",
    "shift by text": "{{ '%1000000000d' % 1 }}",
    "doubling by +": "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "doubling by ~": "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "doubling by capture": (
        "{% set ns = namespace(s='x') %}{% for i in range(100) %}"
        "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}"
    ),
    "doubling by replace": (
        "{% set ns = namespace(s='xx') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('x', ns.s) %}{% endfor %}"
    ),
    "doubling by join": (
        "{% set ns = namespace(s='xx') %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s]|join(ns.s) %}{% endfor %}"
    ),
    "doubling by format": (
        "{% set ns = namespace(s='xx') %}{% for i in range(100) %}"
        "{% set ns.s = '%s%s'|format(ns.s, ns.s) %}{% endfor %}"
    ),
    "doubling a list": (
        "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}"
    ),
    "many big texts": BIG + "{% set ns = namespace(l=[]) %}{% for i in range(9000) %}"
    "{% set ns.l = ns.l + [b ~ i] %}{% endfor %}",
    "big texts in a macro": BIG + "{% macro m() %}{% for i in range(9000) %}{{ b }}{% endfor %}{% endmacro %}{{ m() }}",
    "big template text in a loop": "{% set x %}{% for i in range(9000) %}" + "x" * 9000 + "{% endfor %}{% endset %}",
    "output": "{% for i in range(9000) %}" + "x" * 9000 + "{% endfor %}",
    "escapes": BIG + "{% for i in range(9000) %}{{ b|e|length }}{% endfor %}",
    "center": "{{ 'x'|center(1000000000) }}",
    "indent": "{{ 'x\n'|indent(1000000000) }}",
    "indent by text": BIG + "{{ ('\n' * 1000)|indent(b) }}",
    "wordwrap": BIG + "{{ b|wordwrap(1, true, b) }}",
    "wordwrap by nothing": "{{ 'x'|wordwrap(0) }}",
    "replace nothing": BIG + "{{ b|replace('', b) }}",
    "join": BIG + "{{ range(9000)|join(b) }}",
    "join many": BIG + "{{ ([b] * 100)|join }}",
    "batch": "{{ [1]|batch(1000000000, 'x')|length }}",
    "slice": "{{ [1]|slice(1000000000)|length }}",
    "format width": "{{ '%1000000000d'|format(1) }}",
    "format precision": "{{ '%.1000000000f'|format(1) }}",
    "format star": "{{ '%*d'|format(1000000000, 1) }}",
    "sort": BIG + "{{ ([b] * 9000)|sort|length }}",
    "sort by attribute": BIG + "{{ ([{'b': b}] * 9000)|sort(attribute='b')|length }}",
    "smallest": BIG + "{{ ([b] * 9000)|min|characters }}",
    "json": BIG + "{{ ([b] * 9000)|tojson }}",
    "query": BIG + "{{ 'https://x.example'|url(a=[b] * 9000) }}",
    "urlencode": BIG + "{{ ([('a', b)] * 9000)|urlencode }}",
    "strip": BIG + "{{ ('y' * 1000000).strip(b ~ 'y') }}",
    "trim": BIG + "{{ ('y' * 1000000)|trim(b ~ 'y') }}",
    "search backwards": BIG + "{{ b.rfind('y' ~ b[:500000]) }}",
    "wrap white space": "{{ (' ' * 2000000)|wordwrap }}",
    "select": "{{ range(9000)|select('in', range(9000)|list|reverse)|select('in', range(9000)|list)|length }}",
    "format many": BIG + "{{ ('%(x)s' * 1000)|format(x=b) }}",
    "round": "{{ 1|round(1000000000, 'ceil') }}",
    "round down": "{{ 1|round(-1000000000, 'ceil') }}",
    "json indent": "{{ {'a': 1}|tojson(indent=1000000000) }}",
    "decimals": "{{ 1|number(1000000000) }}",
    "number with a huge exponent": "{{ '1e999999999'|decimal|int }}",
    "date pattern": "{{ '2026-11-23'|date('y' * 100000) }}",
    "sum of lists": "{{ ([[1] * 1000] * 1000)|sum(start=[])|length }}",
    "recursion of a macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "two recursions of a macro": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(90) }}"
    ),
    "recursion of a block": "{% block b %}{{ self.b() }}{% endblock %}",
    "recursion of a loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "recursion of an include": "{% include '_layouts/self.j2' %}",
    "two recursions of an include": "{% include '_layouts/twice.j2' %}",
    "recursion of extends": "{% extends '_layouts/extends.j2' %}",
    "recursion of import": "{% import '_layouts/import.j2' as x %}",
    "comparing nested lists": NEST
    + "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
    "nested tuples": NEST + "{% set ns.l = (ns.l, ns.l) %}{% endfor %}{{ ns.l|tojson }}",
    "nested mappings": NEST + "{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l|tojson }}",
    "nested by batch": NEST + "{% set ns.l = (ns.l + ns.l)|batch(2)|list %}{% endfor %}{{ ns.l|tojson }}",
    "nested by varargs": (
        "{% set ns = namespace(l=(1,)) %}{% macro m() %}{% set ns.l = varargs %}{% endmacro %}"
        "{% for i in range(60) %}{{ m(ns.l, ns.l) }}{% endfor %}{{ ns.l|tojson }}"
    ),
    "deep nesting": "{% set ns = namespace(l=[1]) %}{% for i in range(10000) %}{% set ns.l = [ns.l] %}{% endfor %}",
    "class": "{{ ''.__class__ }}",
    "class by item": "{{ ''['__class__'] }}",
    "class by filter": "{{ ''|attr('__class__') }}",
    "class by map": "{{ ['']|map(attribute='__class__')|join }}",
    "class of the data": "{{ rtEvent.__class__.__mro__ }}",
    "globals of a function": "{{ range.__globals__ }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "parts of a macro": "{% macro m() %}{% endmacro %}{{ m._func }}",
    "environment": "{{ self._TemplateReference__context }}",
    "block context": "{% block b %}{{ super._context }}{% endblock %}",
    "format method": "{{ '{0.__class__}'.format(1) }}",
    "format_map method": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "loop internals": "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
    "module internals": "{% import '_layouts/plain.j2' as m %}{{ m.__class__ }}{{ m._body_stream }}",
    "lipsum": "{{ lipsum(1000000000) }}",
    "dict": "{{ dict(a=1) }}",
    "changing data": "{{ rtEvent.update({'a': 1}) }}",
    "changing a list": "{{ rtEvent.ctx.order.items.article.append(1) }}",
    "namespace internals": "{% set ns = namespace() %}{{ ns.__class__ }}",
    "random": "{{ [1, 2]|random }}",
    "a file": "{% include '/etc/passwd' %}",
    "a relative file": "{% include '_layouts/../../secret' %}",
    "context key": "{{ (' budget')|attr('limits') }}",
    "hex digits": "{{ 0x" + "f" * 100_000 + " * 1 }}",
    "int of many digits": "{{ ('9' * 100000)|int(base=16) }}",
}
SHARED = {
    "_layouts/self.j2": "{% include '_layouts/self.j2' %}",
    "_layouts/twice.j2": "{% include '_layouts/twice.j2' %}" * 2,
    "_layouts/extends.j2": "{% extends '_layouts/extends.j2' %}",
    "_layouts/import.j2": "{% import '_layouts/import.j2' as x %}",
    "_layouts/plain.j2": "{% macro m() %}{% endmacro %}",
}
LIMITS = RenderLimits(seconds=0.3)


REFUSED = re.compile(
    "more than|rendering takes longer|nested too deeply|is missing|cannot calculate|the width must be|a width of"
    "|at most 30|0 to 8|0 to 20|out of range|one of short, medium|No filter named|not part of this template"
    "|Exceeds the limit|is not a number such as"
)


@pytest.mark.parametrize("missing", ["strict", "empty"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_at_once_and_get_nothing(name: str, missing: Any) -> None:
    content = snapshot(ATTACKS[name], meta=Meta(missing=missing), shared=SHARED)
    started, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        result = render_all(content, limits=LIMITS).parts["text"]
    except TemplateError as error:
        result = str(error)
    assert (missing == "empty" and result == "") or REFUSED.search(result), result
    assert time.monotonic() - started < 10 * LIMITS.seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kilobytes


def test_data_is_never_a_template() -> None:
    attack = "{{ 7 * 7 }}{% for i in range(9) %}x{% endfor %}"
    assert render("{{ rtEvent.ctx.v }}{{ rtEvent.ctx.v|upper|lower }}", {"v": attack}) == attack + attack.lower()


def test_limits_are_settings() -> None:
    assert "more than 3 loop iterations" in problem(
        "{% for i in range(4) %}{% endfor %}", limits=RenderLimits(iterations=3)
    )
    assert "a range of more than 3" in problem("{{ range(4)|length }}", limits=RenderLimits(range=3))
    assert "more than 5 characters" in problem("123456", limits=RenderLimits(characters=5))
    assert "more than 8 bits" in problem("{{ 2**9 }}", limits=RenderLimits(bits=8))
    ticks = iter(range(100))
    assert "longer than 3 seconds" in problem(
        "{{ 1 }}{{ 2 }}{{ 3 }}{{ 4 }}", limits=RenderLimits(seconds=3), clock=lambda: float(next(ticks))
    )


def test_one_rendering_leaves_nothing_for_the_next() -> None:
    compiled = renderer(RenderLimits(iterations=10)).compile(snapshot("{% for i in range(8) %}{{ i }}{% endfor %}"))
    assert {compiled.render("en", {}).parts["text"] for _ in range(5)} == {"01234567"}


def test_a_channel_nobody_provides() -> None:
    with pytest.raises(TemplateError, match="no plugin provides the channel 'sms'"):
        renderer().compile(Snapshot("order", "sms", Meta(), {}, {}))
