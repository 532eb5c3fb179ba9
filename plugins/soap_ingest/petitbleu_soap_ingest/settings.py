"""The plugin's section of the configuration."""

from __future__ import annotations

from petitbleu import Settings, XmlLimits
from pydantic import Field


class SoapSettings(Settings):
    """Every limit of the SOAP door. The size of a request is limited by `http.body_limit`, for all intakes alike."""

    deadline: float = Field(default=5.0, gt=0, le=300)
    """Seconds from a request's last byte to its answer; past them the answer is a Server fault."""
    retry_after: int = Field(default=5, ge=1, le=3600)
    """Seconds a caller should wait after such a fault."""
    xml_nodes: int = Field(default=200_000, ge=1)
    """Elements in one envelope."""
    xml_attributes: int = Field(default=256, ge=1)
    """Attributes of one element."""
    xml_depth: int = Field(default=64, ge=8, le=256)
    """Levels of nesting."""
    cookie: str = Field(default="__sessiontoken", min_length=1)
    """The cookie that may carry a session token (then `X-Security-Token` must come with it)."""
    query_lines: int = Field(default=1000, ge=1, le=10_000)
    """Events that `ExecuteQuery` returns when the caller sets no `lineCount`."""
    query_length: int = Field(default=10_000, ge=1)
    """Characters of one `expr`."""
    query_depth: int = Field(default=32, ge=1, le=128)
    """Nested parentheses in one `expr`, and nested `condition` elements."""

    def xml_limits(self, body_limit: int) -> XmlLimits:
        return XmlLimits(body_limit, self.xml_nodes, self.xml_attributes, self.xml_depth)
