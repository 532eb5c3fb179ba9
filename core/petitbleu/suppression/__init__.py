"""Addresses that are not written to: what puts one on the list, what is asked of it before a message goes out.

`guard.py` and `register.py` have the two that use the database; here are the values and rules that others exchange.
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
