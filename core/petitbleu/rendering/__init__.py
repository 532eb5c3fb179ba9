"""Templates to messages: sandboxed Jinja2 over plain data, within a budget.

Templates see what `sandbox` lets them, and data is never compiled. Where templates come from, and which one rules, is
the business of `templates`.
"""

from .budget import LimitReached, RenderLimits
from .renderer import Compiled, Renderer, event_context
from .snapshots import Snapshot

__all__ = ["Compiled", "LimitReached", "RenderLimits", "Renderer", "Snapshot", "event_context"]
