"""Templates from draft folders to published, numbered versions."""

from .drafts import Draft, DraftLimits, Drafts
from .needs import lacking, needed
from .published import Templates
from .seeds import Seed

__all__ = ["Draft", "DraftLimits", "Drafts", "Seed", "Templates", "lacking", "needed"]
