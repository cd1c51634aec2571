"""`datanika freshness-policy`: how old a table may become."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object
from datanika_stack.cli.resources import ObjectFile, Reference, add_common_verbs, noun
from datanika_stack.cli.session import Session
from datanika_stack.cli.targets import target_fields

COLLECTION = "freshness-policies"
app = noun("Freshness policies: how old a table may become.")
add_common_verbs(
    app,
    COLLECTION,
    columns=(
        "id",
        "target_type",
        "target_id",
        "table",
        "max_age_seconds",
        "deadline_cron",
        "severity",
    ),
)


@dataclass(frozen=True)
class FreshnessPolicyOptions:
    """What can be changed of a policy, as options; what it watches stays."""

    max_age_seconds: Annotated[
        int | None, typer.Option(min=60, help="The greatest age in seconds.")
    ] = None
    deadline_cron: Annotated[
        str | None, typer.Option(help="When fresh data must be there, as cron.")
    ] = None
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone in which the cron is read.")
    ] = None
    severity: Annotated[str | None, typer.Option(help="warn or error.")] = None
    file: ObjectFile = None

    def body(self) -> dict[str, Any]:
        """Returns the request."""
        return merge(
            read_object(self.file),
            max_age_seconds=self.max_age_seconds,
            deadline_cron=self.deadline_cron,
            timezone=self.timezone,
            severity=self.severity,
        )


@api_command(app, "create")
def create(
    session: Session,
    options: FreshnessPolicyOptions,
    target: Annotated[
        str | None,
        typer.Option(metavar="TYPE:NAME", help="upload:NAME or transformation:NAME."),
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table, of an upload.")] = None,
) -> Any:
    """Create a policy."""
    body = merge(options.body(), table=table, **target_fields(session, target, "target"))
    return session.client.post(session.path(COLLECTION), body)


@api_command(app, "update")
def update(session: Session, reference: Reference, options: FreshnessPolicyOptions) -> Any:
    """Change what is given of a policy and keep the rest."""
    found = session.find(COLLECTION, reference)
    return session.client.patch(session.path(COLLECTION, found["id"]), options.body())
