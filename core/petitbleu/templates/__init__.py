"""Templates from draft folders to published, numbered versions."""

from .drafts import Draft, DraftLimits, Drafts
from .published import Published, Templates, TemplateState, Version
from .seeds import Seed

__all__ = ["Draft", "DraftLimits", "Drafts", "Published", "Seed", "TemplateState", "Templates", "Version"]
