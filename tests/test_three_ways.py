"""What the console does is also a command and a call over JSON, with the same rights and the same audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from petitbleu import Actor, AuditFilter, IncomingEvent, Operator, Queue, Services
from petitbleu.auth import hash_password
from petitbleu.cli.local import LOCAL
from petitbleu.cli.main import COMMANDS, GROUPS, main
from petitbleu.serving.app import Server, running
from petitbleu_console.pages import VIEWS
from petitbleu_console.routes import routes
from petitbleu_console.settings import ConsoleSettings
from petitbleu_rest_ingest.table import OPERATIONS

TEMPLATE = "templates/{type}/{channel}"
SAME: Mapping[str, tuple[str, str]] = {
    "GET now": (
        "queue, alerts, report service-level, report processing-time, doctor",
        "getQueue, listAlerts, getHealth",
    ),
    "GET now/live": ("queue, alerts", "getQueue, listAlerts, getHealth"),
    "GET now/throughput": ("report service-level", "getReport"),
    "GET now/latency": ("report processing-time", "getReport"),
    "GET events": ("events list", "listEvents"),
    "POST events/bulk": (
        "events cancel, events retry, events resend, events reroute, events hold, events release",
        "changeEvents",
    ),
    "GET events/{id}": ("events show", "getEvent"),
    "GET events/{id}/part": ("events message", "getMessage"),
    "POST events/{id}/{action}": (
        "events cancel, events retry, events resend, events reroute, events hold, events release",
        "cancelEvent, retryEvent, resendEvent, rerouteEvent, holdEvent, releaseEvent",
    ),
    "GET reports": ("report service-level, report processing-time, report history", "getReport"),
    "GET reports/series": ("report service-level, report processing-time, report history", "getReport"),
    "GET templates": ("templates list", "listTemplates"),
    f"GET {TEMPLATE}": (
        "templates list, templates versions, templates diff, templates needs",
        "listTemplates, listTemplateVersions, diffTemplate, listTemplateNeeds",
    ),
    f"GET {TEMPLATE}/source": ("templates show", "getTemplate"),
    f"GET {TEMPLATE}/preview": ("templates preview", "previewTemplate"),
    f"POST {TEMPLATE}/preview": ("templates preview", "previewTemplate"),
    f"GET {TEMPLATE}/part": ("templates preview", "previewTemplate"),
    f"POST {TEMPLATE}/part": ("templates preview", "previewTemplate"),
    f"POST {TEMPLATE}/proof": ("templates proof", "proofTemplate"),
    f"POST {TEMPLATE}/publish": ("templates publish", "publishTemplate"),
    f"POST {TEMPLATE}/unpublish": ("templates unpublish", "unpublishTemplate"),
    f"POST {TEMPLATE}/rollback": ("templates rollback", "rollbackTemplate"),
    "GET suppressions": ("suppressions list", "listSuppressions"),
    "POST suppressions/add": ("suppressions add", "addSuppression"),
    "POST suppressions/remove": ("suppressions remove", "removeSuppressions"),
    "POST suppressions/import": ("suppressions import", "importSuppressions"),
    "GET suppressions/export": ("suppressions export", "exportSuppressions"),
    "GET plugins": ("plugins", "listPlugins"),
    "GET operators": (
        "operators list, operators session list, operators token list",
        "listOperators, listSessions, listTokens",
    ),
    "POST operators/{login}/sign-out": ("operators session end", "signOutOperator"),
    "POST sessions/{session}/end": ("operators session end", "endSession"),
    "POST tokens": ("operators token create", "createToken"),
    "POST tokens/{number}/revoke": ("operators token revoke", "revokeToken"),
    "GET configuration": ("check", "getConfiguration"),
    "POST reload": ("reload", "reload"),
    "GET reload/{request}": ("reload", "getReload"),
    "GET audit": ("audit", "listAudit"),
}
"""By page or form of the console: the commands, and the calls by their `operationId`."""
AFTERWARDS = Actor(LOCAL, "test")
OWN = {"GET /console", "GET /console/", "GET /console/sign-in", "POST /console/sign-in", "POST /console/sign-out"} | {
    "POST /console/language"
}
"""How one comes in, goes, and reads. Programs have tokens."""
CONFIG = """
instance: {name: test, cell: 1, time_zone: UTC, brand: shop}
database: "DATABASE"
http: {port: 0}
plugins:
  - email: {providers: {main: {host: 127.0.0.1, port: 1, security: plain}}}
  - sms: {connectors: {main: {host: 127.0.0.1, port: 1}}, senders: {"*": {"*": Shop}}}
  - rest_ingest
  - console
event_types:
  welcome: {label: Welcome}
brands:
  shop: {sender: {name: Shop, address: shop@example.com}}
operators:
  chief:
    password: "DEMO"
    rights: [push, read, data, publish, suppress, audit, admin]
    password_token_from: [127.0.0.0/8]
  guest: {rights: [read], password: "DEMO"}
"""


def test_every_page_and_form_has_its_commands_and_calls() -> None:
    assert {f"{view.method} {view.path}" for view in VIEWS} == set(SAME)
    commands = {one.name for one in COMMANDS} | {f"{group} {one.name}" for group in GROUPS for one in GROUPS[group][1]}
    rights = {one.name: one.right for one in OPERATIONS}
    for view in VIEWS:
        said, called = SAME[f"{view.method} {view.path}"]
        assert set(said.split(", ")) <= commands
        assert {rights[one] for one in called.split(", ")} == {view.right}, view.path


class Site:
    """A server, somebody at its console, and the same person's program and shell. `way` is what is done now."""

    def __init__(self, server: Server, browser: aiohttp.ClientSession, program: aiohttp.ClientSession) -> None:
        self._server, self._browser, self._program = server, browser, program
        self.desk = self.services.desk
        self.key = ""
        self.way = ""

    @property
    def services(self) -> Services:
        return self._server.instance.services

    @property
    def folder(self) -> Path:
        return self._server.instance.config.directory

    async def sign_in(self) -> None:
        await self.form("sign-in", login="chief", password="demo", to="/console/suppressions")
        async with self._browser.get(f"{self._server.url}/console/suppressions") as answer:
            self.key = (await answer.text()).split('name="key" value="')[1].split('"')[0]

    async def form(self, path: str, **data: str) -> None:
        url = f"{self._server.url}/console/{path}"
        async with self._browser.post(url, data={"key": self.key, **data}, allow_redirects=False) as answer:
            assert answer.status in (200, 303), await answer.text()

    async def call(self, path: str, body: Any = None, **more: Any) -> None:
        url = f"{self._server.url}/api/v1/{path}"
        sent = more or {"json": body or {}}
        async with self._program.post(url, **sent) as answer:
            assert answer.status < 300, await answer.text()

    async def command(self, *words: str) -> None:
        await asyncio.to_thread(main, [*words, "--config", str(self.folder)])

    async def events(self) -> Sequence[str]:
        """Four of them, the last one known by its key alone."""
        whom = Operator("chief", frozenset({"push"}))
        event = {"type": "welcome", "email": "zoe@example.com", "mobilePhone": "+33612345678"}
        more = [{}, {}, {}, {"externalId": self.way}]
        pushed = [IncomingEvent(Queue.REALTIME, {**event, **one}, {}) for one in more]
        return [str(one) for one in await self._server.instance.intake(pushed, whom)]

    async def token(self) -> str:
        return str((await self.desk.installation.tokens(LOCAL))[0].id)

    async def session(self) -> str:
        await self.services.auth.logon("guest", "demo", "127.0.0.1")
        return (await self.desk.installation.sessions(LOCAL, 1, "guest"))[0].id

    async def audited(self, events: Sequence[str]) -> list[tuple[str, str, list[str]]]:
        """What was done, to what, and what is said of it; what differs by the way has the same name."""
        found = (await self.desk.audit.find(AuditFilter(origin=self.way), LOCAL, 100)).items
        assert {one.by for one in found} == {"chief"}
        own = {f"event/{one}": f"event/{number}" for number, one in enumerate(events)}
        return [
            (one.action, own.get(one.object, one.object.replace(self.way, "WAY")), sorted(one.detail))
            for one in reversed(found)
            if one.action != "sessions.begin"
        ]


@asynccontextmanager
async def installation(folder: Path, database: str) -> AsyncIterator[Site]:
    """It delivers nothing."""
    (folder / "petitbleu.yaml").write_text(CONFIG.replace("DEMO", hash_password("demo")).replace("DATABASE", database))
    for channel, address in (("email", "zoe@example.com"), ("sms", "+33612345678")):
        draft = folder / "templates" / "welcome" / channel
        draft.mkdir(parents=True)
        (draft / "template.yaml").write_text("subject: Welcome\n" if channel == "email" else "{}\n")
        (draft / "body.txt.j2").write_text("Hello")
        (draft / "seeds.yaml").write_text(f"seeds:\n  - {{name: zoe, address: '{address}'}}\n")
    basic = {"Authorization": aiohttp.encode_basic_auth("chief", "demo")}
    async with (
        running(folder, [], role="intake") as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
        aiohttp.ClientSession(headers=basic) as program,
    ):
        site = Site(server, browser, program)
        await site.sign_in()
        yield site


async def by_console(site: Site, events: Sequence[str]) -> None:
    template = "templates/welcome/email"
    await site.form("suppressions/add", channel="email", address="console@example.com", reason="hard", text="")
    await site.form("suppressions/remove", channel="email", address="console@example.com", brand="")
    await site.form("suppressions/import", list="channel,address\nemail,console@x.example.com", form="csv")
    await site.form(f"{template}/publish")
    await site.form("templates/welcome/sms/publish")
    await site.form(f"{template}/proof", seed="zoe", to="console@example.com")
    await site.form(f"events/{events[0]}/hold")
    await site.form(f"events/{events[1]}/reroute", to="sms")
    await site.form("events/bulk", action="cancel", find="console", sure="yes")
    await site.form(f"{template}/unpublish")
    await site.form(f"{template}/rollback", version="1")
    await site.form("tokens", login="chief", name="console", days="7")
    await site.form(f"tokens/{await site.token()}/revoke")
    await site.form(f"sessions/{await site.session()}/end")
    await site.form("operators/guest/sign-out")


async def by_call(site: Site, events: Sequence[str]) -> None:
    template = "templates/welcome/email"
    await site.call("suppressions", {"channel": "email", "address": "rest@example.com", "reason": "hard"})
    await site.call("suppressions/remove", {"channel": "email", "addresses": ["rest@example.com"]})
    csv = {"Content-Type": "text/csv"}
    await site.call("suppressions/import", data=b"channel,address\nemail,rest@x.example.com", headers=csv)
    await site.call(f"{template}/publish")
    await site.call("templates/welcome/sms/publish")
    await site.call(f"{template}/proof", {"seed": "zoe", "to": "rest@example.com"})
    await site.call(f"events/{events[0]}/hold")
    await site.call(f"events/{events[1]}/reroute", {"to": "sms"})
    await site.call("event-changes", {"action": "cancel", "filter": {"externalId": "rest"}})
    await site.call(f"{template}/unpublish")
    await site.call(f"{template}/rollback", {"version": 1})
    await site.call("tokens", {"login": "chief", "name": "rest", "expires": "2999-01-01T00:00:00Z"})
    await site.call(f"tokens/{await site.token()}/revoke")
    await site.call(f"sessions/{await site.session()}/end")
    await site.call("operators/guest/sign-out")


async def by_command(site: Site, events: Sequence[str]) -> None:
    async def run(words: str, *more: str) -> None:
        await site.command(*words.split(), *more, "--by", "chief")

    await run("suppressions add email cli@example.com --reason hard")
    await run("suppressions remove email cli@example.com --brand", "")
    listed = site.folder / "list.csv"
    listed.write_text("channel,address\nemail,cli@x.example.com")
    await run("suppressions import", str(listed))
    await run("templates publish --all")
    await run("templates proof welcome/email --seed zoe --to cli@example.com")
    await run(f"events hold {events[0]}")
    await run(f"events reroute {events[1]} --to sms")
    await run("events cancel --external-id cli --yes")
    await run("templates unpublish welcome/email")
    await run("templates rollback welcome/email 1")
    await run("operators token create chief --name cli --expires 7d")
    await run(f"operators token revoke {await site.token()}")
    await run(f"operators session end {await site.session()}")
    await run("operators session end --login guest")


async def test_the_audit_of_the_same_work_is_the_same(tmp_path: Path, sqlite_url: str) -> None:
    async with installation(tmp_path, sqlite_url) as site:
        paths = {
            f"{one.method} {one.path}"
            for one in routes(ConsoleSettings(), site.services)
            if not one.path.startswith("/console/static/")
        }
        assert paths == OWN | {f"{view.method} /console/{view.path}" for view in VIEWS}
        told = []
        for site.way, work in (("console", by_console), ("rest", by_call), ("cli", by_command)):
            events = await site.events()
            await work(site, events)
            told.append(await site.audited(events))
            for channel in ("email", "sms"):
                await site.desk.templates.unpublish(f"welcome/{channel}", AFTERWARDS)
        assert len(told[0]) == 15
        assert told[1] == told[0]
        assert told[2] == told[0]
