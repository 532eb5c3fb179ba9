"""All sections together: the file but for `plugins`, whose settings the plugins type themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, SecretStr, WithJsonSchema, field_validator

from ...lifecycle import STATUSES
from .access import OperatorSettings, Sessions
from .delivery import DeliverySettings, SafeModeSettings, SuppressionSettings
from .events import Brand, EventTypeSettings, MaskPath, RecyclingRules, Routing
from .installation import Http, Instance, LimitSettings, TemplateSettings
from .keeping import Encryption, Retention
from .values import Login, Name, Section, one_of
from .watching import AlertSettings, Monitoring, WatchdogSettings

Status = Annotated[str, *one_of(*STATUSES)]

_DATABASE = "sqlite://var/petitbleu.db"


class Sections(Section):
    """Everything but `plugins`, whose settings the plugins type themselves."""

    instance: Instance = Field(default_factory=Instance, description="This installation.")
    database: Annotated[SecretStr, WithJsonSchema({"type": "string"})] = Field(
        SecretStr(_DATABASE),
        json_schema_extra={"default": _DATABASE},
        description="sqlite://PATH (from the configuration's directory) or postgres://USER:PASSWORD@HOST/DATABASE.",
    )
    durability: Literal["full", "relaxed"] = Field(
        "full", description="relaxed allows a database that may forget what was acknowledged."
    )
    http: Http = Field(default_factory=Http, description="The server's address and limits.")
    event_types: dict[Name, EventTypeSettings] = Field(default_factory=dict, description="What callers may push.")
    routing: Routing = Field(default_factory=Routing, description="Which channel, brand, template and language.")
    recycling: RecyclingRules = Field(
        default_factory=RecyclingRules, description="Which other channel takes over what did not get through."
    )
    brands: dict[Name, Brand] = Field(default_factory=dict, description="In whose name messages are sent.")
    operators: dict[Login, OperatorSettings] = Field(default_factory=dict, description="Who may do what.")
    sessions: Sessions = Field(default_factory=Sessions, description="Logging on.")
    delivery: DeliverySettings = Field(default_factory=DeliverySettings, description="The worker.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What the door lets in.")
    suppression: SuppressionSettings = Field(
        default_factory=SuppressionSettings, description="When an address is not written to any more."
    )
    encryption: Encryption = Field(
        default_factory=Encryption, description="Encrypts what callers send where it is stored."
    )
    safe_mode: SafeModeSettings = Field(
        default_factory=SafeModeSettings, description="Keeps a test installation from writing to customers."
    )
    masking: tuple[MaskPath, ...] = Field(
        (), description="Paths into ctx, of any event, that are shown as ***: user.password, user.* or **.token."
    )
    retention: Retention = Field(default_factory=Retention, description="How long what is done with is kept.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="When to warn.")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="Thresholds, and who is told.")
    watchdog: WatchdogSettings = Field(
        default_factory=WatchdogSettings, description="An event of our own that proves that messages go out."
    )
    templates: TemplateSettings = Field(default_factory=TemplateSettings, description="Where templates are.")
    statuses: dict[Status, int] = Field(
        default_factory=dict, description="Numbers that SOAP callers read as @status, where they differ from ours."
    )

    @field_validator("database")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        if not re.match(r"(sqlite|postgres|postgresql|asyncpg)://.", url.get_secret_value()):
            raise ValueError("should be sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")
        return url

    @field_validator("event_types")
    @classmethod
    def _labelled(cls, types: Mapping[str, EventTypeSettings]) -> Mapping[str, EventTypeSettings]:
        return {name: one if one.label else one.model_copy(update={"label": name}) for name, one in types.items()}

    @field_validator("operators")
    @classmethod
    def _one_trusted(cls, operators: Mapping[str, OperatorSettings]) -> Mapping[str, OperatorSettings]:
        for (one, first), (other, second) in combinations(operators.items(), 2):
            for mine in first.trusted_from:
                for theirs in second.trusted_from:
                    if mine.version == theirs.version and mine.overlaps(theirs):
                        raise ValueError(f"{one} and {other} are both trusted from {mine}; only one can be meant")
        return operators

    @field_validator("statuses")
    @classmethod
    def _distinct(cls, codes: Mapping[str, int]) -> Mapping[str, int]:
        taken: dict[int, str] = {}
        for name, status in STATUSES.items():
            code = codes.get(name, status.code)
            if code in taken:
                raise ValueError(f"{taken[code]} and {name} both have the number {code}")
            taken[code] = name
        return codes
