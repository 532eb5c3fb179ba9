"""Who is calling: sessions, tokens of programs, passwords, trusted networks."""

from .authenticator import Authenticator
from .passwords import hash_password
from .tokens import Tokens

__all__ = ["Authenticator", "Tokens", "hash_password"]
