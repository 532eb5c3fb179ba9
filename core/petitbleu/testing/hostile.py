"""Texts that have broken messaging systems before."""

from __future__ import annotations

from collections.abc import Mapping

HOSTILE: Mapping[str, str] = {
    "empty": "",
    "blank": " \t ",
    "header injection": "Hello\r\nBcc: mallory@example.net\r\n\r\nbody",
    "bare line feeds": "Hello\nRCPT TO:<mallory@example.net>\nDATA",
    "end of mail": "Hello\r\n.\r\nQUIT\r\n",
    "NUL": "Hel\x00lo",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x85\x9f",
    "escape sequences": "\x1b[2J\x1b]0;owned\x07",
    "line separators": "one\u2028two\u2029three",
    "right to left": "\u202egnp.exe\u202c \u0645\u0631\u062d\u0628\u0627",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fe",
    "combining": "Z" + "\u0351\u0357\u0308" * 200,
    "half a character": "a\ud83d",
    "byte order mark": "\ufeffHello\ufffe\uffff",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)> & &amp; ]]> --> <!DOCTYPE x>",
    "quotes": "'; DROP TABLE events; -- \" \\ ` $(reboot) ${HOME}",
    "template code": "{{ 7 * 7 }} {% for i in range(9) %}x{% endfor %} {# #}",
    "format": "%s %n %(x)d {0} {}",
    "path": "../../../../etc/passwd",
    "URL": "http://169.254.169.254/latest/meta-data/",
    "one long word": "x" * 20_000,
    "many lines": "line\n" * 2_000,
    "JSON": '{"to": "mallory@example.net"}',
    "number": "1e999999",
}
"""By what is hostile about them."""
