"""The command `petitbleu`: a module for each group of subcommands.

They parse and print; what they do is done elsewhere, by `Services.desk` where other ways in can do it too.
"""

from .main import main

__all__ = ["main"]
