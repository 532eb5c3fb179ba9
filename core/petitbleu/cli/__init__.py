"""The command `petitbleu`."""

from .main import main

__all__ = ["main"]
