"""What `template.yaml` of an SMS holds beside the core's own keys."""

from __future__ import annotations

from typing import Annotated

from petitbleu import Settings
from pydantic import AfterValidator

from .addressing import check_sender
from .text import Transliterate


def _sender(value: str) -> str:
    if value:
        check_sender(value)
    return value


class SmsFields(Settings):
    """Strings may be templates; what is checked here is what they rendered to."""

    sender: Annotated[str, AfterValidator(_sender)] = ""
    """A number, a short number or a name; that of the settings unless given."""
    provider: str | None = None
    """One of `plugins.sms.connectors` and `plugins.sms.gateways`; whichever is best unless given."""
    transliterate: Transliterate | None = None
    """As in the settings unless given."""
