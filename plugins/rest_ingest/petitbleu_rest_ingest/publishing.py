"""Templates, tried out and published: rendered for nobody, sent to seeds, and made what new messages are made of."""

from __future__ import annotations

from typing import Any

from petitbleu import EventsRefused, JsonEvent
from pydantic import Field

from .operation import JSON, Answer, Body, Call, Given, Operation, Success, Told
from .pushing import event_of, refusal
from .templates import ONE, TAG, WRONG, TemplatePath, Version


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


OPERATIONS = (
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
        problems=WRONG | {"invalid-event"},
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
        problems=WRONG,
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
        problems=WRONG,
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
        problems=WRONG,
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
        problems=WRONG,
    ),
)
