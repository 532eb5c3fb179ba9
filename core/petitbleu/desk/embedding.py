"""Parts of a message with their images within, for pages that may fetch nothing."""

from __future__ import annotations

from collections.abc import Mapping

from ..types import Channel, Content


def embedded(channel: Channel, content: Content) -> Mapping[str, str]:
    return content.parts if channel.embed is None else channel.embed(content)


__all__ = ["embedded"]
