"""Alphabets and parts, checked by decoders that are not ours."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from aiosmpplib import protocol
from aiosmpplib.codec import GSM_BASIC_DECODE_MAP, GSM_EXTENDED_DECODE_MAP, find_codec_info
from hypothesis import given, settings
from hypothesis import strategies as st
from petitbleu_sms.alphabet import decode_gsm, encode_gsm, is_gsm, plainer, septets
from petitbleu_sms.pdu import pack_head, submit_body
from petitbleu_sms.spec import HEADER, Command
from petitbleu_sms.text import Text, encode_text, parts, split

GSM = "".join(GSM_BASIC_DECODE_MAP.values()).replace("\x1b", "") + "".join(GSM_EXTENDED_DECODE_MAP.values())
CONCATENATIONS = ("udh", "udh16", "sar", "payload")
MOST = {("udh", True): 153, ("udh16", True): 152, ("udh", False): 67, ("udh16", False): 66}
"""Septets or UTF-16 units that fit into a part beside its header."""
any_text = st.text(st.sampled_from(GSM + "€€€[[[") | st.characters(codec="utf-8"), min_size=1, max_size=700)


def theirs(octets: bytes) -> str:
    return str(find_codec_info("gsm0338", None).decode(octets)[0])


def test_the_alphabet_is_that_of_gsm_03_38() -> None:
    assert is_gsm(GSM)
    assert theirs(encode_gsm(GSM)) == GSM
    assert decode_gsm(encode_gsm(GSM)) == GSM
    assert septets(GSM) == len(encode_gsm(GSM)) == len(GSM) + len(GSM_EXTENDED_DECODE_MAP)
    outside = [chr(point) for point in range(0x3000) if chr(point) not in GSM]
    assert [char for char in outside if is_gsm(char)] == []


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_can_be_shown(octets: bytes) -> None:
    assert len(decode_gsm(octets)) <= len(octets)


def whole(text: Text, concatenation: Any) -> str:
    """What a handset puts together, read by another codec."""
    made = parts(text, concatenation, 0xABCD)
    found = {}
    for part in made:
        body = submit_body(
            b"", (5, 0, b"Shop"), (1, 1, b"336"), b"", text.data_coding, part.short_message, part.tlvs, part.header
        )
        head = pack_head(HEADER + len(body), Command.SUBMIT_SM, 0, 1)
        read = protocol.SubmitSm.from_pdu(head + body, protocol.SmppMessage.parse_header(head), "gsm0338")
        reference, number, total = read.get_segmentation_data()
        # the other codec reads two octets too many of a wide reference
        assert reference in (0, 0xABCD, 0xCD) or reference >> 16 == 0xABCD
        assert total in (0, len(made))
        found[number] = read.short_message or read.message_payload
    assert len(found) == len(made)
    return "".join(found[number] for number in sorted(found))


@settings(deadline=None)
@given(any_text, st.sampled_from(CONCATENATIONS))
def test_another_codec_reads_the_whole_text(written: str, concatenation: Any) -> None:
    # the other codec takes an alphabet's NUL, the at sign, at the end for a filling
    written = written.replace("@", "a")
    text = encode_text(written)
    if len(split(text, concatenation)) <= 255:
        assert whole(text, concatenation) == written


@settings(deadline=None)
@given(any_text, st.sampled_from(CONCATENATIONS))
def test_no_pair_is_taken_apart_and_no_part_is_too_long(written: str, concatenation: Any) -> None:
    text = encode_text(written)
    pieces = split(text, concatenation)
    assert b"".join(pieces) == text.units
    most = MOST[concatenation if concatenation == "udh16" else "udh", text.gsm]
    for piece in pieces:
        if text.gsm:
            assert len(piece) <= (160 if len(pieces) == 1 else most)
            assert piece[-1] != 0x1B
        else:
            # a half pair does not decode
            assert len(piece.decode("utf-16-be").encode("utf-16-be")) <= (140 if len(pieces) == 1 else most * 2)
    # as few as can be: two neighbours never fit into one part
    room = most if text.gsm else most * 2
    for piece, after in pairwise(pieces):
        assert len(piece) >= room - (1 if text.gsm else 2)
        assert after


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 152 + "€" * 30, [152, 60]),
        ("a" * 158 + "€", [160]),
        ("a" * 159 + "€", [153, 8]),
        ("ё" * 70, [140]),
        ("ё" * 71, [134, 8]),
        ("ё" * 66 + "👋" * 4, [132, 16]),
        ("👋" * 35, [140]),
        ("👋" * 36, [132, 12]),
    ],
)
def test_boundaries(written: str, sizes: list[int]) -> None:
    assert [len(piece) for piece in split(encode_text(written), "udh")] == sizes


@pytest.mark.parametrize(
    ("written", "mode", "gsm", "units"),
    [
        ("it’s “fine” – really…", "never", False, None),
        ("it’s “fine” – really…", "typography", True, 'it\'s "fine" - really...'),
        ("ça coûte 5 €", "typography", False, None),
        ("ça coûte 5 €", "letters", True, "ca coute 5 €"),
        ("Łódź", "letters", True, "Lódź".replace("ó", "o").replace("ź", "z")),
        # what remains foreign keeps all of it as it was
        ("l’été à Москва", "letters", False, None),
        ("Ünïcödé", "letters", True, "Ünicödé"),
    ],
)
def test_transliteration(written: str, mode: Any, gsm: bool, units: str | None) -> None:
    text = encode_text(written, mode)
    assert text.gsm is gsm
    assert (theirs(text.units) if gsm else text.units.decode("utf-16-be")) == (units or written)


@settings(deadline=None)
@given(st.text(max_size=100))
def test_plainer_text_keeps_what_is_in_the_alphabet(written: str) -> None:
    for letters in (False, True):
        plain = plainer(written, letters)
        assert plainer(plain, letters) == plain or not is_gsm(plain)
        if is_gsm(written):
            assert plain == written


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_text("\ud83d")
