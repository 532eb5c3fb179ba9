"""Section `plugins.console`."""

from __future__ import annotations

from typing import Literal

from petitbleu import Settings
from pydantic import Field


class ConsoleSettings(Settings):
    idle: float = Field(1800.0, gt=0, le=86400, description="Seconds without a page after which one must sign in anew.")
    language: Literal["", "en", "fr"] = Field("", description="The language of the pages; empty: as the browser asks.")
    lines: int = Field(50, ge=5, le=500, description="Lines of a listing on one page, or `limits.rows`, if fewer.")
    refresh: float = Field(5.0, ge=1, le=300, description="Seconds after which the page Now looks again.")
    secure: Literal["auto", "always"] = Field(
        "auto", description="Whether the cookie goes over HTTPS only: where the page came by HTTPS, or always."
    )
