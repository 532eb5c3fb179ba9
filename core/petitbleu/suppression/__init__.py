"""Addresses that are not written to: what puts one on the list, what is asked of it before a message goes out.

`rules` and `keys` are values and pure functions; `guard` is asked by the worker and writes with its outcomes,
`register` is the same list for operators, `exchange` its files.
"""

from .keys import FORGOTTEN, address_key, checked_key, forgotten_key
from .rules import MOST_COUNTED, Note, Reason, Sign, Source, Terms

__all__ = [
    "FORGOTTEN",
    "MOST_COUNTED",
    "Note",
    "Reason",
    "Sign",
    "Source",
    "Terms",
    "address_key",
    "checked_key",
    "forgotten_key",
]
