"""What is masked is shown nowhere, and nothing else is changed."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from command_line import runner, sample_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu import Element
from petitbleu.masking import MASK, Masks, parsed

CTX: dict[str, Any] = {
    "user": {"@login": "zoe", "password": "s3", "Address": {"city": "Lyon", "token": "t1"}},
    "line": [{"sku": "a", "token": "t2"}, {"sku": "b"}, "text"],
    "token": "t3",
    "#order": ["user", "line"],
}


def shown(*paths: str, data: Any = None) -> Any:
    return Masks(tuple(map(parsed, paths))).masked("order", {"ctx": deepcopy(CTX if data is None else data)})["ctx"]


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("user.password", ["s3"]),
        ("USER.PassWord", ["s3"]),
        ("user.login", ["zoe"]),
        ("user.address", ["Lyon", "t1"]),
        ("user.*", ["zoe", "s3", "Lyon", "t1"]),
        ("*.token", ["t2"]),
        ("**.token", ["t1", "t2", "t3"]),
        ("line.**.token", ["t2"]),
        ("line", ["a", "t2", "b", "text"]),
        ("token.more", []),
        ("password", []),
    ],
)
def test_a_path_hides_what_it_leads_to(path: str, hidden: list[str]) -> None:
    written = json.dumps(shown(path))
    for value in ("zoe", "s3", "Lyon", "t1", "t2", "t3", "a", "b", "text"):
        assert (json.dumps(value) in written) is (value not in hidden), value


def test_types_have_paths_of_their_own_and_attributes_stay() -> None:
    masks = Masks((parsed("token"),), {"reset": (parsed("link"),)})
    data = {"email": "zoe@example.com", "token": "not in ctx", "ctx": Element({"token": "a", "link": "b"})}
    assert masks.masked("order", data)["ctx"] == {"token": MASK, "link": "b"}
    masked = masks.masked("reset", data)
    assert masked == {**data, "ctx": {"token": MASK, "link": MASK}}
    assert isinstance(masked["ctx"], Element)
    assert data["ctx"] == {"token": "a", "link": "b"}


NAMES = st.sampled_from(["a", "b", "c", "secret", "@secret", "Secret"])
TREES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["x", "y", 1, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def under(tree: Any) -> list[Any]:
    """Everything that stands under the name."""
    if isinstance(tree, list):
        return [found for item in tree for found in under(item)]
    if not isinstance(tree, dict):
        return []
    return [found for name, item in tree.items() for found in ([item] if "secret" in name.lower() else under(item))]


def elsewhere(tree: Any) -> Any:
    if isinstance(tree, list):
        return [elsewhere(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {name: elsewhere(item) for name, item in tree.items() if "secret" not in name.lower()}


@settings(deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_at_any_depth_a_name_is_hidden_and_the_rest_is_as_it_was(tree: dict[str, Any]) -> None:
    found = shown("**.secret", data=tree)
    assert all(one == MASK for one in under(found))
    assert elsewhere(found) == elsewhere(tree)
    assert shown("**.secret", data=found) == found


@pytest.mark.parametrize("path", ["", "a..b", "*", "**", "a. ", "**.*"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="should be a path into ctx"):
        parsed(path)


def test_an_operator_reads_no_masked_value(tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(sample_copy(tmp_path), sqlite_url, capsys)
    event = {"type": "password_reset", "email": "zoe@example.com", "ctx": {"link": "https://e.example/k", "minutes": 3}}
    event["ctx"] |= {"user": {"login": "zoe"}}  # type: ignore[operator]
    (tmp_path / "one.jsonl").write_text(json.dumps(event))
    assert run("push", str(tmp_path / "one.jsonl")).code == 0
    hiding = ("--set", "event_types.password_reset.masking=[link]", "--set", "masking=['**.login']")
    for more in ((), ("--json",)):
        ended = run("events", "show", "1", "--data", *hiding, *more)
        assert ended.code == 0, ended.err
        assert ("e.example" in ended.out, '"link": "***"' in ended.out) == (False, True)
        assert '"minutes": ' in ended.out
        assert '"login": "***"' in ended.out
    assert "e.example" in run("events", "show", "1", "--data").out
    assert run("check", "--set", "masking=['*']").code == 1
