"""Templates from draft folders to published, numbered versions.

`drafts` reads folders, `templateyaml` their settings; `published` has the versions that messages are made of, and finds
the one for an event. How a message is made of it is `rendering`'s.
"""

from .drafts import Draft, DraftLimits, Drafts
from .needs import lacking, needed
from .published import Templates
from .seeds import Seed

__all__ = ["Draft", "DraftLimits", "Drafts", "Seed", "Templates", "lacking", "needed"]
