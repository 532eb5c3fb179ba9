"""Templates to messages: sandboxed Jinja2 over plain data, within a budget."""

from .budget import LimitReached, RenderLimits
from .renderer import Compiled, Renderer, event_context
from .snapshots import Snapshot

__all__ = ["Compiled", "LimitReached", "RenderLimits", "Renderer", "Snapshot", "event_context"]
