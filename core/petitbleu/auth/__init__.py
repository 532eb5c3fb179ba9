"""Who is calling: sessions, passwords, trusted networks."""

from .authenticator import Authenticator
from .passwords import hash_password

__all__ = ["Authenticator", "hash_password"]
