"""Who is calling: sessions, tokens of programs, passwords, trusted networks.

`authenticator` says who it is, and takes as long for a refusal whatever was wrong. What somebody may do then is asked
where it is done, by `Operator.may`.
"""

from .authenticator import Authenticator
from .passwords import hash_password
from .tokens import Tokens

__all__ = ["Authenticator", "Tokens", "hash_password"]
