"""The GSM default alphabet with its extension table (GSM 03.38, 6.2.1), one septet an octet, as SMSCs take it."""

from __future__ import annotations

import re
import unicodedata

ESCAPE = 0x1B
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40}
_EXTENSION["€"] = 0x65

_TO_OCTETS = {ord(char): septet for septet, char in enumerate(_BASIC) if septet != ESCAPE}
_TABLE: dict[int, int | str] = {
    **_TO_OCTETS,
    **{ord(char): chr(ESCAPE) + chr(septet) for char, septet in _EXTENSION.items()},
}
_outside = re.compile("[^" + re.escape("".join(map(chr, _TABLE))) + "]")
_extended = re.compile("[" + re.escape("".join(_EXTENSION)) + "]")
_FROM_EXTENSION = {septet: char for char, septet in _EXTENSION.items()}

_TYPOGRAPHY = {
    **dict.fromkeys("‘’‚‛′´`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys(
        "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t", " "
    ),
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
    "…": "...",
    "•": "-",
    "·": ".",
    "™": "(TM)",
    "©": "(C)",
    "®": "(R)",
    "×": "x",
    "‹": "<",
    "›": ">",
}
_LETTERS = {
    "œ": "oe",
    "Œ": "OE",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
    "ı": "i",
}
_typography = str.maketrans(_TYPOGRAPHY)
_letters = str.maketrans(_LETTERS)


def is_gsm(text: str) -> bool:
    """Whether every character of it is in the alphabet or its extension."""
    return _outside.search(text) is None


def septets(text: str) -> int:
    """How many a text of the alphabet takes."""
    return len(text) + len(_extended.findall(text))


def encode_gsm(text: str) -> bytes:
    """One octet a septet. The text `is_gsm`."""
    return text.translate(_TABLE).encode("latin-1")


def decode_gsm(octets: bytes) -> str:
    """Leniently: an unknown escape shows its second septet (GSM 03.38, 6.2.1.1), what is no septet a question mark."""
    found = []
    escaped = False
    for octet in octets:
        if octet == ESCAPE and not escaped:
            escaped = True
            continue
        plain = _BASIC[octet] if octet < 128 and octet != ESCAPE else "?"
        found.append(_FROM_EXTENSION.get(octet, plain) if escaped else plain)
        escaped = False
    return "".join(found)


def plainer(text: str, letters: bool) -> str:
    """The text with typography, and with `letters` accents too, written in the alphabet where that is possible.

    A character of the alphabet stays what it is.
    """
    return _outside.sub(lambda found: _plain(found[0], letters), text)


def _plain(char: str, letters: bool) -> str:
    found = char.translate(_typography)
    if found == char and letters:
        found = char.translate(_letters)
        if found == char:
            bare = "".join(one for one in unicodedata.normalize("NFKD", char) if not unicodedata.combining(one))
            # a combining mark of its own goes, a letter that has no plain form stays
            found = bare if is_gsm(bare) else char
    return found
