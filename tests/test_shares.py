"""Places among flows: by weight, to whoever has least, and to nobody too many."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from petitbleu.queue.shares import Flow, Shares

A, B, C = (Flow("email", name) for name in "abc")


def test_who_is_alone_gets_all() -> None:
    assert Shares().places(10, [A], {}, 50) == {A: 10}
    assert Shares().places(10, [A], {A: 45}, 50) == {A: 5}
    assert Shares().places(10, [A], {A: 50}, 50) == {}
    assert Shares().places(0, [A], {}, 50) == {}


def test_who_has_least_comes_first() -> None:
    assert Shares().places(7, [A, B], {A: 5}, 50) == {B: 6, A: 1}
    assert Shares().places(6, [A, B], {A: 20}, 50) == {B: 6}


def test_weights_of_types_hold_within_their_brand() -> None:
    shares = Shares({"a": "shop", "b": "shop"}, {}, {"a": 3.0})
    assert shares.places(8, [A, B], {}, 50) == {A: 6, B: 2}


def test_brands_come_before_types() -> None:
    """A brand with many types has no more than one with a single type."""
    shares = Shares({"a": "shop", "b": "shop", "c": "bank"})
    given_ = shares.places(12, [A, B, C], {}, 50)
    assert (given_[A] + given_[B], given_[C]) == (6, 6)
    heavy = Shares({"a": "shop", "b": "shop", "c": "bank"}, {"bank": 3.0})
    assert heavy.places(12, [A, B, C], {}, 50)[C] == 9


flows = st.sampled_from([Flow(channel, name) for channel in ("email", "sms") for name in "abcd"])


@given(
    st.integers(0, 60),
    st.lists(flows, max_size=8),
    st.dictionaries(flows, st.integers(0, 30)),
    st.integers(1, 40),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 10)),
)
def test_places_are_neither_invented_nor_wasted(
    room: int, waiting: list[Flow], taken: dict[Flow, int], most: int, weights: dict[str, float]
) -> None:
    found = Shares({"a": "one", "b": "two"}, {"one": 2.0}, weights).places(room, waiting, taken, most)
    assert set(found) <= set(waiting)
    assert all(places > 0 and places + taken.get(flow, 0) <= most for flow, places in found.items())
    possible = sum(max(0, most - taken.get(flow, 0)) for flow in set(waiting))
    assert sum(found.values()) == min(room, possible)


@given(st.integers(1, 40), st.integers(2, 4))
def test_equals_differ_by_one_at_most(room: int, many: int) -> None:
    waiting = [Flow("email", str(number)) for number in range(many)]
    found = Counter(Shares().places(room, waiting, {}, 100))
    counts = [found[flow] for flow in waiting]
    assert max(counts) - min(counts) <= 1
