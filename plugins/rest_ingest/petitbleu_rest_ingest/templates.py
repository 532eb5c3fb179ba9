"""Templates, looked at: how each stands, what it is made of and reads, and what differs between versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from .events import EventId
from .operation import Answer, Call, Given, Operation, Success, Told

TAG = "Templates"
ROOT = "/api/v1/templates"
ONE = f"{ROOT}/{{type}}/{{channel}}"
WRONG = frozenset({"invalid-template"})
"""What any operation on one template may end with."""
Version = Annotated[str, StringConstraints(pattern=r"^(draft|[1-9][0-9]{0,8})?$")]


class TemplatePath(Given):
    type: str = Field(description="The event type.")
    channel: str = Field(description="The channel, such as `email`.")

    @property
    def name(self) -> str:
        return f"{self.type}/{self.channel}"


class Template(Told):
    """How a template stands."""

    type: str
    channel: str
    href: str
    version: int | None = Field(None, description="The published version; missing where none is.")
    draft: str = Field(description="`published` (nothing to publish), `changed`, `new`, `broken`, or `none`.")
    labels: tuple[str, ...]
    seeds: tuple[str, ...] = Field(description="The names of its seeds.")
    languages: tuple[str, ...] = Field(description="Those it speaks, the default one first.")
    problem: str | None = Field(None, description="What is wrong with a broken draft.")


class Templates(Told):
    """Every template."""

    templates: tuple[Template, ...]


class TemplateVersion(Told):
    """A published version."""

    number: int
    digest: str = Field(description="SHA-256 of its content.")
    created: datetime
    created_by: str
    current: bool = Field(description="Whether new messages are made of it.")


class Versions(Told):
    """Every version there was, the oldest first."""

    versions: tuple[TemplateVersion, ...]


class Source(Told):
    """What a version is made of."""

    type: str
    channel: str
    version: int | None = Field(None, description="Missing: the draft.")
    texts: dict[str, str] = Field(description="By file: settings, parts, layouts; of attachments size and hash.")


class Need(Told):
    """What the texts read of `ctx`."""

    path: str = Field(description="Below `ctx`, such as `order.number`.")
    lacking: tuple[EventId, ...] = Field(
        description="Of the latest events, those that had nothing there; told with the right `data`."
    )


class Needs(Told):
    """Everything that the texts read of `ctx`."""

    needs: tuple[Need, ...]


class Diff(Told):
    """What differs between two versions."""

    diff: str = Field(description="Unified, file by file; empty where nothing differs.")


class VersionQuery(Given):
    version: Version = Field("", description="A number or `draft`; without it the published version.")


class DiffQuery(Given):
    old: Version = Field("", description="A number or `draft`; without it the published version.")
    new: Version = Field("draft", description="A number or `draft`.")


async def list_templates(call: Call) -> Answer:
    found = await call.door.services.desk.templates.list(call.operator)
    return Answer(
        200,
        Templates(
            templates=tuple(
                Template(
                    type=one.event_type,
                    channel=one.channel,
                    href=f"{ROOT}/{one.event_type}/{one.channel}",
                    version=one.version,
                    draft=one.draft,
                    labels=one.labels,
                    seeds=one.seeds,
                    languages=one.languages,
                    problem=one.problem or None,
                )
                for one in found
            )
        ),
    )


async def get_template(call: Call, path: TemplatePath, query: VersionQuery) -> Answer:
    found = await call.door.services.desk.templates.source(path.name, call.operator, query.version)
    told = Source(type=found.event_type, channel=found.channel, version=found.version, texts=dict(found.texts))
    return Answer(200, told)


async def list_needs(call: Call, path: TemplatePath, query: VersionQuery) -> Answer:
    found = await call.door.services.desk.templates.needs(path.name, call.operator, query.version)
    return Answer(200, Needs(needs=tuple(Need(path=one.path, lacking=tuple(map(str, one.lacking))) for one in found)))


async def list_versions(call: Call, path: TemplatePath) -> Answer:
    found = await call.door.services.desk.templates.versions(path.name, call.operator)
    return Answer(
        200,
        Versions(
            versions=tuple(
                TemplateVersion(
                    number=one.number,
                    digest=one.digest,
                    created=one.created,
                    created_by=one.created_by,
                    current=one.current,
                )
                for one in found
            )
        ),
    )


async def diff_template(call: Call, path: TemplatePath, query: DiffQuery) -> Answer:
    text = await call.door.services.desk.templates.diff(path.name, call.operator, query.old, query.new)
    return Answer(200, Diff(diff=text))


OPERATIONS = (
    Operation(
        method="GET",
        path=ROOT,
        name="listTemplates",
        summary="Every template, and how it stands",
        tag=TAG,
        right="read",
        run=list_templates,
        answers={200: Success("Those that the operator may read.", Templates)},
    ),
    Operation(
        method="GET",
        path=ONE,
        name="getTemplate",
        summary="What a template is made of",
        tag=TAG,
        right="read",
        run=get_template,
        parameters=TemplatePath,
        query=VersionQuery,
        answers={200: Success("A version, or the draft.", Source)},
        problems=WRONG,
    ),
    Operation(
        method="GET",
        path=f"{ONE}/versions",
        name="listTemplateVersions",
        summary="Every version there was of a template",
        tag=TAG,
        right="read",
        run=list_versions,
        parameters=TemplatePath,
        answers={200: Success("The oldest first.", Versions)},
        problems=WRONG,
    ),
    Operation(
        method="GET",
        path=f"{ONE}/needs",
        name="listTemplateNeeds",
        summary="What a template reads of ctx, and which events lacked it",
        tag=TAG,
        right="read",
        run=list_needs,
        parameters=TemplatePath,
        query=VersionQuery,
        answers={200: Success("Every path.", Needs)},
        problems=WRONG,
    ),
    Operation(
        method="GET",
        path=f"{ONE}/diff",
        name="diffTemplate",
        summary="What a publication would change, or did",
        tag=TAG,
        right="read",
        run=diff_template,
        parameters=TemplatePath,
        query=DiffQuery,
        answers={200: Success("What differs.", Diff)},
        problems=WRONG,
    ),
)
