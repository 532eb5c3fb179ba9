"""Who is calling: sessions, tokens of programs, passwords, trusted networks."""

from .authenticator import Authenticator
from .passwords import hash_password
from .tokens import ApiToken, NewToken, TokenRefused, Tokens

__all__ = ["ApiToken", "Authenticator", "NewToken", "TokenRefused", "Tokens", "hash_password"]
