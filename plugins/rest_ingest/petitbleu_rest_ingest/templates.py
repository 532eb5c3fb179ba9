"""Templates: looked at, previewed, proofed, published and taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from petitbleu import EventsRefused, JsonEvent
from pydantic import Field, StringConstraints

from .events import EventId
from .operation import JSON, Answer, Body, Call, Given, Operation, Success, Told
from .pushing import event_of, refusal

TAG = "Templates"
ROOT = "/api/v1/templates"
ONE = f"{ROOT}/{{type}}/{{channel}}"
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


class Preview(Told):
    """A message that nobody is sent."""

    address: str
    language: str
    fields: dict[str, Any]
    parts: dict[str, str]
    files: dict[str, int] = Field(description="Bytes of each attachment and image.")
    notes: tuple[str, ...] = Field(description="What the channel has to say of it, such as how many SMS it makes.")


class Proof(Told):
    """What became of one proof."""

    seed: str
    address: str
    outcome: str = Field(description="`delivered`, `deferred`, `failed`, `unknown`, or `withheld` by safe mode.")
    text: str = Field(description="The provider's words.")


class Proofs(Told):
    """What became of each proof."""

    proofs: tuple[Proof, ...]


class Published(Told):
    """The version that new messages are made of."""

    version: int
    changed: bool = Field(description="False where it ruled already.")


class VersionQuery(Given):
    version: Version = Field("", description="A number or `draft`; without it the published version.")


class DiffQuery(Given):
    old: Version = Field("", description="A number or `draft`; without it the published version.")
    new: Version = Field("draft", description="A number or `draft`.")


class PreviewOf(Given):
    """What to render, and for whom: a seed of the draft, or an event."""

    version: Version = Field("draft", description="A number, or `draft`.")
    seed: str = Field("", description="The name of a seed; without it the first one.")
    event: JsonEvent | None = Field(None, description="In place of a seed: an event as a caller would push it.")
    language: str = Field("", max_length=32, description="Another language than the recipient's.")
    images: bool = Field(False, description="With the message's images within its HTML, as `data:` URIs.")


class ProofTo(Given):
    """Whom to send a proof of the draft."""

    seed: str = Field("", description="Only this seed; without it all of them.")
    to: str = Field("", max_length=320, description="Another address than the seed's.")


class RollbackTo(Given):
    """Which version to go back to."""

    version: int = Field(ge=1, le=999_999_999)


# ------------------------------------------------------------------------------------------------------------- looking


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


# --------------------------------------------------------------------------------------------------------- trying out


async def preview_template(call: Call, path: TemplatePath, body: PreviewOf | None) -> Answer:
    asked = body or PreviewOf()
    value = None if asked.event is None else asked.event.model_dump(exclude_unset=True)
    try:
        event = None if value is None else event_of(call, value, path.type)
        made = await call.door.services.desk.templates.preview(
            path.name,
            call.operator,
            version=asked.version,
            seed=asked.seed,
            event=event,
            language=asked.language,
            images=asked.images,
        )
    except EventsRefused as refused:
        raise refusal(refused, [value], alone=True, below="/event") from None
    return Answer(
        200,
        Preview(
            address=made.address,
            language=made.language,
            fields=dict(made.fields),
            parts=dict(made.parts),
            files=dict(made.files),
            notes=tuple(made.notes),
        ),
    )


async def proof_template(call: Call, path: TemplatePath, body: ProofTo | None) -> Answer:
    asked = body or ProofTo()
    sent = await call.door.services.desk.templates.proof(path.name, call.actor, seed=asked.seed, to=asked.to)
    proofs = tuple(Proof(seed=one.seed, address=one.address, outcome=one.outcome, text=one.text) for one in sent)
    return Answer(200, Proofs(proofs=proofs))


# ---------------------------------------------------------------------------------------------------------- publishing


async def publish_template(call: Call, path: TemplatePath) -> Answer:
    made = await call.door.services.desk.templates.publish(path.name, call.actor)
    return Answer(200, Published(version=made.version, changed=made.changed))


async def unpublish_template(call: Call, path: TemplatePath) -> Answer:
    await call.door.services.desk.templates.unpublish(path.name, call.actor)
    return Answer(204)


async def rollback_template(call: Call, path: TemplatePath, body: RollbackTo) -> Answer:
    made = await call.door.services.desk.templates.rollback(path.name, body.version, call.actor)
    return Answer(200, Published(version=made.version, changed=made.changed))


_WRONG = frozenset({"invalid-template"})

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
        problems=_WRONG,
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
        problems=_WRONG,
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
        problems=_WRONG,
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
        problems=_WRONG,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/preview",
        name="previewTemplate",
        summary="Render a template, and send nothing",
        tag=TAG,
        right="publish",
        run=preview_template,
        parameters=TemplatePath,
        body=Body({JSON: PreviewOf}, needed=False),
        answers={200: Success("The message.", Preview)},
        problems=_WRONG | {"invalid-event"},
    ),
    Operation(
        method="POST",
        path=f"{ONE}/proof",
        name="proofTemplate",
        summary="Send the draft to its seeds",
        tag=TAG,
        right="publish",
        run=proof_template,
        parameters=TemplatePath,
        body=Body({JSON: ProofTo}, needed=False),
        answers={200: Success("What became of each proof.", Proofs)},
        problems=_WRONG,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/publish",
        name="publishTemplate",
        summary="Freeze the draft, and make new messages of it",
        text="Once it renders for every seed and in every language. The draft is the one in the configuration of the "
        "server that answers.",
        tag=TAG,
        right="publish",
        run=publish_template,
        parameters=TemplatePath,
        answers={200: Success("It rules.", Published)},
        problems=_WRONG,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/unpublish",
        name="unpublishTemplate",
        summary="Make new messages of no version",
        text="New events of this type and channel end as `not_covered`.",
        tag=TAG,
        right="publish",
        run=unpublish_template,
        parameters=TemplatePath,
        answers={204: Success("None rules any more.")},
        problems=_WRONG,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/rollback",
        name="rollbackTemplate",
        summary="Make new messages of an earlier version again",
        tag=TAG,
        right="publish",
        run=rollback_template,
        parameters=TemplatePath,
        body=Body({JSON: RollbackTo}),
        answers={200: Success("It rules.", Published)},
        problems=_WRONG,
    ),
)
