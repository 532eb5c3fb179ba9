"""The plugin's section of the configuration."""

from __future__ import annotations

from petitbleu import Settings
from pydantic import Field


class RestSettings(Settings):
    """Every limit of the JSON door. The size of a request is limited by `http.body_limit`, for all intakes alike."""

    deadline: float = Field(default=10.0, gt=0, le=300)
    """Seconds from a request's last byte to its answer; past them the answer is a 503."""
    retry_after: int = Field(default=5, ge=1, le=3600)
    """Seconds a caller should wait after such an answer."""
    json_depth: int = Field(default=64, ge=4, le=256)
    """Levels of nesting of one event."""
