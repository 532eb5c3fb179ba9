"""A template frozen: everything a message is made of, and nothing else. Publishing stores it as JSON."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import yaml

from ..languages import LANGUAGE
from ..types import Settings

FORMAT = 1
"""Of the stored JSON. A change that older snapshots cannot be read by needs a new number and a reader for the old."""


class DefaultText(Settings):
    """`missing: {default: "text"}`."""

    default: str


class Meta(Settings):
    """The core's own keys of `template.yaml` that change what is sent."""

    brand: str = ""
    """The brand to send as when routing names none."""
    missing: Literal["strict", "empty"] | DefaultText = "strict"
    language: str = LANGUAGE
    """Of the files and fields without a language in their name."""

    @property
    def default_text(self) -> str | None:
        """What a missing value prints; None where it is an error."""
        if isinstance(self.missing, DefaultText):
            return self.missing.default
        return "" if self.missing == "empty" else None


@dataclass(frozen=True)
class Snapshot:
    """The content of one template for one channel.

    `parts` and `fields` go by name, then by language (`""` is the default one); `files` are attachments and images by
    their names in the folder; `shared` are the layouts and blocks in use, by the names templates call them.
    """

    event_type: str
    channel: str
    meta: Meta
    fields: Mapping[str, Mapping[str, Any]]
    parts: Mapping[str, Mapping[str, str]]
    files: Mapping[str, bytes] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.event_type}/{self.channel}"

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language there is a part or field for, the default one first."""
        named = {language for variants in (*self.parts.values(), *self.fields.values()) for language in variants}
        return (self.meta.language, *sorted(named - {"", self.meta.language}))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: equal for two snapshots that give the same messages."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical: the same content always gives the same text."""
        return json.dumps(
            {
                "format": FORMAT,
                "event_type": self.event_type,
                "channel": self.channel,
                "meta": self.meta.model_dump(mode="json"),
                "fields": self.fields,
                "parts": self.parts,
                "files": {name: base64.b64encode(data).decode() for name, data in self.files.items()},
                "shared": self.shared,
            },
            ensure_ascii=False,
            separators=(",", ":"),
            sort_keys=True,
            allow_nan=False,
        )

    def files_as_text(self) -> dict[str, str]:
        """By name: the keys of `template.yaml`, parts such as `text.fr`, layouts, and what each attachment is."""
        settings = {**self.meta.model_dump(mode="json"), **_by_key(self.fields)}
        return {
            "template.yaml": yaml.safe_dump(settings, allow_unicode=True, width=120),
            **_by_key(self.parts),
            **self.shared,
            **{
                name: f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
                for name, data in self.files.items()
            },
        }

    def texts(self) -> Iterator[str]:
        """Every text that is a template: parts, layouts, and what `template.yaml` says."""
        for variants in (*self.parts.values(), self.shared):
            yield from variants.values()
        for values in self.fields.values():
            yield from _strings(values)

    def to_text(self) -> str:
        """All of it for people to read."""
        return "\n".join(f"==> {name}\n{text.rstrip()}\n" for name, text in self.files_as_text().items())

    def diff(self, new: Snapshot, name: str = "old", new_name: str = "new") -> str:
        """Unified, file by file; of attachments only size and hash. Empty when nothing differs."""
        before, after = self.files_as_text(), new.files_as_text()
        lines: list[str] = []
        for file in dict.fromkeys((*before, *after)):
            old_lines, new_lines = before.get(file, "").splitlines(), after.get(file, "").splitlines()
            lines += difflib.unified_diff(old_lines, new_lines, f"{name}/{file}", f"{new_name}/{file}", lineterm="")
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Raises `ValueError` for a format this version does not know."""
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"a snapshot of format {data['format']}, this version reads format {FORMAT}")
        return cls(
            event_type=data["event_type"],
            channel=data["channel"],
            meta=Meta.model_validate(data["meta"]),
            fields=data["fields"],
            parts=data["parts"],
            files={name: base64.b64decode(content) for name, content in data["files"].items()},
            shared=data["shared"],
        )


def _by_key(named: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{name}.{language}" if language else name: value
        for name, variants in named.items()
        for language, value in variants.items()
    }


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)
