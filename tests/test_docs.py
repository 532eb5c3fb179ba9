"""The documentation is true: links, commands, examples.

`CONTRIBUTING.md` says how examples are marked; what needs no mark is checked everywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import configparser
import contextlib
import io
import json
import re
import shlex
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, encode_basic_auth
from faults.cases import CASES
from lxml import etree
from petitbleu.audit import ITSELF
from petitbleu.cli.demo import Box, standing_in
from petitbleu.cli.main import GROUPS, build_parser
from petitbleu.instance import open_services, plan
from petitbleu.serving.app import Server, running
from yarl import URL

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "config"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("plugins/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
        ROOT / "config" / "README.md",
        ROOT / "benchmarks" / "README.md",
    ]
)
EXPECTED_PAGES = {
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "benchmarks/README.md",
    *(f"docs/{page}.md" for page in ("admins", "architecture", "callers", "dependencies", "operators")),
    *(f"docs/{page}.md" for page in ("desk", "hooks", "json", "plugins", "promises", "recipes", "templates")),
    *(f"plugins/{folder.name}/README.md" for folder in (ROOT / "plugins").iterdir() if folder.is_dir()),
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind (`xml`, `console` …), the mark before it, where it starts, what it says."""

    page: Path
    line: int
    kind: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"


_FENCE = re.compile(
    r"(?:^<!-- test: (?P<mark>\w+) -->\n)?^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
MARKS = {
    "run": {"python"},
    "config": {"yaml"},
}


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("kind")) + 1
        yield Block(page, line, found["kind"], found["mark"] or "", textwrap.dedent(found["text"]))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def marked(mark: str, *kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.mark == mark and (not kinds or block.kind in kinds)]


def prose(page: Path) -> str:
    """The page without fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


# ------------------------------------------------------------------------------------------------ pages and their links


def test_every_page_is_there() -> None:
    assert {named(page) for page in PAGES} >= EXPECTED_PAGES


def test_marks_are_known_and_stand_before_a_block() -> None:
    for page in PAGES:
        written = len(re.findall(r"^<!-- test:", page.read_text("utf-8"), re.M))
        assert written == sum(bool(block.mark) for block in BLOCKS if block.page == page), named(page)
    for block in BLOCKS:
        assert not block.mark or block.kind in MARKS[block.mark], block


def anchors(page: Path) -> set[str]:
    """What headings can be linked to by."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_named_in_text_exist(page: Path) -> None:
    written = re.findall(r"`((?:docs|config|core|plugins|tests)/[\w./-]*[\w/])`", prose(page))
    assert [path for path in written if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


def test_every_promise_names_tests_that_exist() -> None:
    modules = {path.stem: path for path in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/test_*.py")]}
    known = {
        f"{name}::{function}"
        for name, path in modules.items()
        for function in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text("utf-8"), re.M)
    }
    page = (ROOT / "docs" / "promises.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:4] == "| **"]
    assert len(rows) > 15
    for what, *_, proof in rows:
        proofs = proof.rstrip(" |").split(", ")
        unknown = [one for one in proofs if one.strip("`") not in known and one not in CASES]
        assert proofs, what
        assert unknown == [], what
    # no case is run for nothing
    assert {one for *_, proof in rows for one in re.findall(r"\b[FSPW]\d+\b", proof)} == CASES.keys()


# ------------------------------------------------------------------------------------------------------------- commands


def commands_in(page: Path) -> Iterator[tuple[str, bool]]:
    """Every `petitbleu …`: after a `$`, on an indented line, or, where it may be cut short, as code in a sentence."""
    text = prose(page)
    consoles = "\n".join(
        block.text for block in BLOCKS if block.page == page and block.kind in ("console", "sh", "bash")
    )
    prompt = re.findall(r"^\s*\$ (?:\S*/bin/)?(petitbleu .+)$", consoles, re.M)
    indented = re.findall(r"^ {4,}(?:\S*/bin/)?(petitbleu .+)$", text, re.M)
    inline = re.findall(r"`(petitbleu [^`]+)`", " ".join(text.split()))
    for short, commands in ((False, prompt + indented), (True, inline)):
        for command in commands:
            # a remark stands apart from the command by two spaces, or after a #
            yield re.split(r"\s{2,}|\s#\s", command.strip())[0], short


@pytest.fixture(scope="module")
def parser() -> Any:
    return build_parser(plan(SAMPLE, []).calls.commands(open_services))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page: Path, parser: Any) -> None:
    wrong = []
    for command, short in commands_in(page):
        words = shlex.split(command)[1:]
        words = words[: next((at for at, word in enumerate(words) if word in ("|", ">", "<", "&&", "2>")), len(words))]
        if words[-1:] == ["…"]:
            words.pop()
        if not words or words in [group.split() for group in GROUPS]:
            continue
        output = io.StringIO()
        try:
            with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
                parser.parse_args(words)
        except SystemExit as stopped:
            said = output.getvalue().splitlines()[-1]
            if stopped.code != 0 and not (short and "arguments are required" in said):
                wrong.append(f"{command}: {said}")
    assert wrong == []


# ------------------------------------------------------------------------------------------------- examples that run


def sections(text: str) -> dict[str, str]:
    """The top-level keys of a YAML text, each with its lines."""
    parts = re.split(r"^(?=\w+:)", text, flags=re.M)
    return {part.partition(":")[0]: part for part in parts if re.match(r"\w+:", part)}


@pytest.mark.parametrize("block", marked("config"), ids=str)
def test_configuration_examples_are_in_order(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"(?<!\$)\$\{(\w+)\}", block.text):
        monkeypatch.setenv(name, HASH)
    assert sections(block.text), "an example has at least one section"
    merged = {**sections((SAMPLE / "petitbleu.yaml").read_text("utf-8")), **sections(block.text)}
    (tmp_path / "petitbleu.yaml").write_text("\n".join(merged.values()), "utf-8")
    (tmp_path / "templates").symlink_to(SAMPLE / "templates")
    planned = plan(tmp_path, [])
    assert planned.config.file.parent == tmp_path.absolute()


HASH = "$argon2id$v=19$m=65536,t=3,p=4$/uPgM1/N5jXnEwk17hShSA$pHXDKaTGYLB0gmqt2vhVZG8/72/qFskHn7XzijD8YgY"
"""What an example's `${NAME}` stands for."""


# ------------------------------------------------------------------------------------------------ calls that are shown

SOAP_PREFIXES = {
    "SOAP-ENV": "http://schemas.xmlsoap.org/soap/envelope/",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "xsd": "http://www.w3.org/2001/XMLSchema",
}
ADDRESS = "http://127.0.0.1:8080"
"""Where the pages say that the server is."""


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind == "xml"], ids=str)
def test_xml_examples_are_well_formed(block: Block) -> None:
    # an excerpt may be several elements, and its prefixes be declared around it
    declared = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in SOAP_PREFIXES.items())
    text = re.sub(r"^<\?xml.*?\?>", "", block.text)
    etree.fromstring(f"<examples {declared}>{text}</examples>".encode(), SAFE)


SAFE = etree.XMLParser(resolve_entities=False, no_network=True)
_HERE_DOCUMENT = re.compile(r"^\$ curl [^\n]*<<'XML'\n(?P<asked>.*?)^XML\n(?P<answer>.*)", re.M | re.S)
_JSON_CALL = re.compile(
    r"^\$ curl (?P<words>[^\n]*?)(?: <<'JSON'\n(?P<asked>.*?)^JSON)?\n(?P<answer>(?:^[{\[ ][^\n]*\n)+)", re.M | re.S
)


@dataclass(frozen=True)
class Exchange:
    """A call that a page shows, and what it shows of the answer."""

    block: Block
    method: str
    path: str
    headers: dict[str, str]
    asked: str
    shown: str

    @property
    def is_json(self) -> bool:
        return self.shown[:1] in ("{", "[")


def soap(block: Block, asked: str, shown: str) -> Exchange:
    headers = {"Content-Type": "text/xml; charset=utf-8"}
    return Exchange(block, "POST", "/nl/jsp/soaprouter.jsp", headers, asked, shown)


def curl(block: Block, words: str, asked: str, shown: str) -> Exchange:
    """What curl would do with these words, which it all must know."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("url")
    parser.add_argument("-s", action="store_true", required=True)
    parser.add_argument("-u", default="")
    parser.add_argument("-X", default="")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("--data-binary", choices=["@-"])
    told = parser.parse_args(shlex.split(words))
    headers = {name: value for name, _, value in (line.partition(": ") for line in told.H)}
    if told.u:
        headers["Authorization"] = encode_basic_auth(*told.u.split(":"))
    assert (told.data_binary is not None) == bool(asked)
    assert told.url.startswith(ADDRESS)
    return Exchange(block, told.X or ("POST" if asked else "GET"), told.url[len(ADDRESS) :], headers, asked, shown)


def conversation(page: Path) -> list[Exchange]:
    """The calls of a page in order, each with the answer that is shown: of an envelope the rest of its block, or the
    next one; of JSON what follows."""
    found = []
    blocks = [block for block in BLOCKS if block.page == page and block.kind in ("xml", "console")]
    for number, block in enumerate(blocks, 1):
        posted = _HERE_DOCUMENT.search(block.text)
        if posted is not None:
            found.append(soap(block, posted["asked"], posted["answer"]))
        elif block.kind == "xml" and block.text.startswith("<soapenv:Envelope"):
            later = (one.text for one in blocks[number:] if one.kind == "xml")
            shown = next(later, "")
            found.append(soap(block, block.text, "" if shown.startswith("<soapenv:Envelope") else shown))
        elif block.kind == "console":
            calls = _JSON_CALL.finditer(block.text)
            found += [curl(block, one["words"], one["asked"] or "", one["answer"]) for one in calls]
    return found


def shows(part: Any, whole: Any) -> bool:
    """Whether what is shown is so; members may be left out."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and shows(value, whole[name]) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(shows, part, whole))
    return bool(part == whole)


def timeless(text: str) -> str:
    """Without what differs each time: tokens and clocks."""
    text = re.sub(r"(<pstr(?:Session|Security)Token[^>]*>)[^<]*", r"\1TOKEN", text.strip())
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*Z?", "TIME", text)


@asynccontextmanager
async def sample_server(folder: Path) -> AsyncIterator[Server]:
    """The sample instance with its templates published, on an empty database and with a mail catcher."""
    async with standing_in(SAMPLE, [], Box()) as (instead, _):
        sets = [f"database=sqlite://{folder}/docs.db", "http.port=0", *instead]
        async with running(SAMPLE, sets) as server:
            for key in server.instance.drafts.list():
                await server.instance.templates.publish(server.instance.drafts.load(*key), ITSELF)
            yield server


async def idle(server: Server) -> None:
    """Wait until every event has its final status."""
    async with asyncio.timeout(10):
        while (await server.instance.store.rows("depth"))[0]["depth"]:
            await asyncio.sleep(0.01)


CALLERS = [ROOT / "README.md", *(ROOT / "docs" / f"{page}.md" for page in ("callers", "json", "desk"))]


def test_no_call_is_overlooked() -> None:
    for page in PAGES:
        posted = [one for one in conversation(page) if one.asked] if page in CALLERS else []
        written = re.findall(r"^\$ .*<<'JSON'$", page.read_text("utf-8"), re.M)
        assert len([one for one in posted if one.is_json]) == len(written), named(page)


@pytest.mark.parametrize("page", CALLERS, ids=named)
async def test_calls_are_answered_as_shown(page: Path, tmp_path: Path) -> None:
    calls = conversation(page)
    assert any(one.shown for one in calls)
    async with sample_server(tmp_path) as server, ClientSession() as client:
        for one in calls:
            url = URL(server.url + one.path, encoded=True)
            async with client.request(one.method, url, data=one.asked.encode(), headers=one.headers) as got:
                answer = await got.text()
            if one.is_json:
                shown, whole = json.loads(timeless(one.shown)), json.loads(timeless(answer))
                assert shows(shown, whole), f"{one.block}: {answer}"
            else:
                fault = etree.fromstring(answer.encode(), SAFE).find(".//{*}Fault")
                assert (fault is not None) == ("<faultcode>" in one.shown), f"{one.block}: {answer}"
                assert got.status == (200 if fault is None else 500), one.block
                assert timeless(one.shown) in timeless(answer), one.block
            await idle(server)


@pytest.mark.parametrize("block", marked("run"), ids=str)
async def test_python_examples_run(block: Block, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        text = block.text
        if ADDRESS in text:
            server = await stack.enter_async_context(sample_server(tmp_path))
            text = text.replace(ADDRESS, server.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", text, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            _, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()


# --------------------------------------------------------------------------------------------------------- dependencies


def _declared() -> dict[str, set[str]]:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", "utf-8")
    lists = {"run": setup["options"]["install_requires"], "dev": setup["options.extras_require"]["dev"]}
    return {kind: set(re.findall(r"^([A-Za-z][\w.-]*)", text, re.M)) for kind, text in lists.items()}


def test_every_dependency_is_explained() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    run, dev = text.split("## For development")
    for kind, part in (("run", run), ("dev", dev)):
        rows = re.findall(r"^\| ([\w.-]+) \|([^|]+)\|([^|]+)\|([^|]+)\|$", part, re.M)
        assert all(cell.strip() for row in rows for cell in row)
        assert [row[0] for row in rows if row[0] != "package"] == sorted(_declared()[kind], key=str.lower)
