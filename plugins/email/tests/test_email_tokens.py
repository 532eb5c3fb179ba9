"""Return paths: what was signed reads back, and nothing else reads at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from petitbleu import Event, Queue
from petitbleu_email.addresses import LOCAL_OCTETS, parse_address
from petitbleu_email.tokens import Signer, Ticket

OLD, NEW = b"the secret of last year", b"the secret of this year"
SIGNER = Signer(1, "bounces.example.com", [NEW, OLD], ["main", "spare"])
EVENT = Event((1 << 56) + 7, "test", Queue.REALTIME, "email", {}, datetime(2026, 11, 23, 10, 0, 0, 999_999, tzinfo=UTC))
TOKEN = SIGNER.sign(EVENT, 3, "main")

ids = st.integers(1 << 56, (128 << 56) - 1)
times = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(ids, times, st.integers(1, (1 << 24) - 1), st.sampled_from(["main", "spare"]), st.randoms())
def test_a_return_path_reads_back_in_whatever_case(
    number: int, created: datetime, attempt: int, provider: str, random: object
) -> None:
    event = Event(number, "test", Queue.REALTIME, "email", {}, created)
    address = SIGNER.return_path(SIGNER.sign(event, attempt, provider))
    assert parse_address(str(address)) == address
    assert len(address.local) <= LOCAL_OCTETS
    folded = "".join(getattr(random, "choice")((one.upper(), one.lower())) for one in str(address))  # noqa: B009
    for text in (str(address), folded, f"<{folded}>"):
        ticket = SIGNER.read_address(text)
        assert ticket == Ticket(number, attempt, provider, int(created.timestamp()))
        assert ticket.fits(event)


def test_no_octet_of_a_token_can_be_another() -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    forged = [
        TOKEN[:at] + other + TOKEN[at + 1 :] for at, own in enumerate(TOKEN) for other in alphabet if other != own
    ]
    assert len(forged) == 48 * 31
    assert [token for token in forged if SIGNER.read(token) is not None] == []
    assert SIGNER.read(TOKEN) is not None


@given(st.text(max_size=80) | st.from_regex(r"[a-z2-7]{48}", fullmatch=True))
def test_whatever_else_somebody_writes_is_nothing(text: str) -> None:
    assert SIGNER.read(text) is None
    assert SIGNER.read_address(text) is None
    assert SIGNER.read_address(f"b+{text}@bounces.example.com") is None


def test_a_letter_that_only_folds_to_ascii_is_no_letter() -> None:
    kelvin = "\u212a"
    token = next(token for n in range(100) if "k" in (token := SIGNER.sign(EVENT, n + 1, "main")))
    assert SIGNER.read(token) is not None
    assert SIGNER.read(token.replace("k", kelvin)) is None


def test_other_domains_and_other_names_are_not_ours() -> None:
    for address in (f"b+{TOKEN}@example.com", f"{TOKEN}@bounces.example.com", f"c+{TOKEN}@bounces.example.com"):
        assert SIGNER.read_address(address) is None
    assert SIGNER.read_address(f"b+{TOKEN}@BOUNCES.example.com") is not None


def test_secrets_are_changed_without_losing_what_is_under_way() -> None:
    before = Signer(1, "bounces.example.com", [OLD], ["main"])
    after = Signer(1, "bounces.example.com", [NEW], ["main"])
    assert SIGNER.read(before.sign(EVENT, 1, "main")) is not None
    assert SIGNER.sign(EVENT, 1, "main") == after.sign(EVENT, 1, "main")
    assert after.read(before.sign(EVENT, 1, "main")) is None


def test_another_cell_is_another_installation() -> None:
    assert Signer(2, "bounces.example.com", [NEW], ["main"]).read(TOKEN) is None


def test_an_id_given_again_is_another_event() -> None:
    ticket = SIGNER.read(TOKEN)
    assert ticket is not None
    assert ticket.fits(EVENT)
    assert not ticket.fits(replace(EVENT, created=datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)))
    assert not ticket.fits(replace(EVENT, id=EVENT.id + 1))


def test_what_cannot_be_told_is_left_open() -> None:
    """An attempt of more than three octets; a provider that the settings lost."""
    ticket = SIGNER.read(SIGNER.sign(EVENT, 1 << 24, "gone"))
    assert ticket == Ticket(EVENT.id, (1 << 24) - 1, "", int(EVENT.created.timestamp()))
