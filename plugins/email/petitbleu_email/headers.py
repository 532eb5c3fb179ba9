"""Header lines as bytes: folded, encoded where needed, never wide enough to break anything.

RFC 5322 2.1.1 and 2.2.3 (lines and folding), RFC 2047 (encoded words), RFC 2231 (parameters), RFC 6532 (UTF-8).
Every function here refuses control characters, so no value can start a header of its own.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from .addresses import Address

WIDTH = 76
LONGEST_LINE = 998

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_WORDS = re.compile(r" +(?:<[^>]*>|[^ ])+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_Q = {octet: chr(octet) for octet in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"} | {32: "_"}
_Q_OCTET = [_Q.get(octet, f"={octet:02X}") for octet in range(256)]
_HIGH = bytes(range(128, 256))
_FREE_TEXT = ("comments", "keywords")
_ATTR_CHAR = "!#$&+-.^_`{|}~"


class HeaderRefused(ValueError):
    """A value that cannot stand in a header; the text does not repeat it."""


def check_text(value: str) -> None:
    """What no header may hold, encoded or not."""
    if _CONTROL.search(value):
        raise HeaderRefused("line breaks and other control characters are not allowed in a header")
    if _SURROGATE.search(value):
        raise HeaderRefused("half a character (a lone surrogate) is not valid text")


def fold(name: str, words: Iterable[str]) -> bytes:
    """`name: words`, broken before words so that lines stay within `WIDTH`. Each word brings its leading space."""
    lines = [name + ":"]
    empty = True
    for word in list(words) or [" "]:
        if not empty and len(lines[-1]) + len(word) > WIDTH:
            lines.append(word)
        else:
            lines[-1] += word
        empty = False
    encoded = [line.encode() for line in lines]
    if max(map(len, encoded)) > LONGEST_LINE:
        raise HeaderRefused(f"a line of the header {name} is longer than {LONGEST_LINE} octets and cannot be broken")
    return b"\r\n".join(encoded) + b"\r\n"


def text(name: str, value: str) -> bytes:
    """Free text: as it is where that reads back the same, else in encoded words."""
    check_text(value)
    words = _WORDS.findall(" " + value)
    plain = (
        value.isascii()
        and "\t" not in value
        and "=?" not in value
        and value == value.strip(" ")
        and all(len(word) < WIDTH - len(name) for word in words)
    )
    return fold(name, words if plain else encoded_words(value, len(name) + 1))


def custom(name: str, value: str) -> bytes:
    """A header of the template. Only `X-…`, Comments and Keywords hold free text; all others are written as they are,
    since an encoded word would break them (a List-Unsubscribe over 78 characters must stay an address)."""
    check_text(value)
    if name.lower().startswith("x-") or name.lower() in _FREE_TEXT:
        return text(name, value)
    if not value.isascii() or "\t" in value:
        raise HeaderRefused("only printable ASCII is allowed in this header")
    if not value or value != value.strip(" "):
        raise HeaderRefused("the value must not be empty, nor begin or end with a space")
    return fold(name, _WORDS.findall(" " + value))


def mailbox(name: str, display: str, address: Address) -> bytes:
    """`name: display <address>`."""
    check_text(display)
    if not display:
        return fold(name, [f" {address}"])
    if len(display) < WIDTH - len(name) - 2 and _ATOMS.fullmatch(display) and "=?" not in display:
        words = [" " + display]
    elif len(display) < 60 and display.isascii() and "\t" not in display and "=?" not in display:
        words = [' "' + display.replace("\\", "\\\\").replace('"', '\\"') + '"']
    else:
        words = encoded_words(display, len(name) + 1)
    return fold(name, [*words, f" <{address}>"])


def encoded_words(value: str, taken: int) -> list[str]:
    """RFC 2047, each word within 75 octets, the first line already holding `taken`. No character is cut in two."""
    octets = value.encode()
    mostly_ascii = (len(octets) - len(octets.translate(None, _HIGH))) * 4 <= len(octets)
    kind, per_octet = ("q", 0) if mostly_ascii else ("b", 1)
    pieces = list(value) if per_octet else list(map(_q, value))
    if not per_octet and sum(map(len, pieces)) <= _room(WIDTH - taken - 1, 0):
        return [_word(kind, pieces)]
    weights = [len(piece.encode()) for piece in pieces] if per_octet else list(map(len, pieces))
    words = []
    begin, size = 0, 0
    room = _room(WIDTH - taken - 1, per_octet)
    for at, weight in enumerate(weights):
        if at > begin and size + weight > room:
            words.append(_word(kind, pieces[begin:at]))
            begin, size, room = at, 0, _room(75, per_octet)
        size += weight
    words.append(_word(kind, pieces[begin:]))
    return words


@lru_cache(maxsize=4096)
def _q(character: str) -> str:
    return "".join([_Q_OCTET[octet] for octet in character.encode()])


def _room(width: int, base64: int) -> int:
    inside = min(width, 75) - len("=?utf-8?q??=")
    return inside // 4 * 3 if base64 else inside


def _word(kind: str, pieces: list[str]) -> str:
    joined = "".join(pieces)
    if kind == "b":
        joined = b2a_base64(joined.encode(), newline=False).decode("ascii")
    return f" =?utf-8?{kind}?{joined}?="


def with_file_name(name: str, value: str, file_name: str) -> bytes:
    """`name: value; filename=…`: quoted where that will do, else as RFC 2231 has it, in pieces if long.

    There is no ASCII stand-in beside an RFC 2231 name: parsers that find both often take the stand-in.
    """
    check_text(file_name)
    # Python's own parser takes <name> for an address and cuts the brackets off, unless it is percent-encoded
    bracketed = file_name.startswith("<")
    quoted = file_name.replace("\\", "\\\\").replace('"', '\\"')
    plain = file_name.isascii() and "\t" not in file_name and "=?" not in file_name and not bracketed
    if plain and len(quoted) <= 60:
        return fold(name, [f" {value};", f' filename="{quoted}"'])
    first, *others = _percent_pieces(file_name, WIDTH - len(" filename*99*=utf-8'';"))
    if not others:
        return fold(name, [f" {value};", f" filename*=utf-8''{first}"])
    pieces = [f" filename*0*=utf-8''{first}", *(f" filename*{at}*={piece}" for at, piece in enumerate(others, 1))]
    return fold(name, [f" {value};", *(piece + ";" for piece in pieces[:-1]), pieces[-1]])


def _percent_pieces(value: str, width: int) -> list[str]:
    pieces = [""]
    for character in value:
        encoded = quote(character, safe=_ATTR_CHAR)
        if len(pieces[-1]) + len(encoded) > width:
            pieces.append("")
        pieces[-1] += encoded
    return pieces
