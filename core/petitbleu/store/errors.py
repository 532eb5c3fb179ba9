"""What goes wrong with a database."""

from __future__ import annotations

from ..errors import PetitbleuError, Unavailable


class StoreError(PetitbleuError):
    """The database cannot be used as it is; the text says what to do."""


class CommitUnknown(Unavailable):
    """The connection was lost while a transaction was being committed: it may have taken effect or not."""

    def __init__(self) -> None:
        super().__init__("the database did not say whether it stored the changes")


class StepUndone(PetitbleuError):
    """A part of a transaction failed and is undone; the rest of it is as it was."""
