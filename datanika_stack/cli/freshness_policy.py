"""`datanika freshness-policy`: how old a table may become."""

from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object
from datanika_stack.cli.resources import (
    DEFAULT_LIMIT,
    Limit,
    ObjectFile,
    Reference,
    add_common_verbs,
    noun,
)
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
    reaction: Annotated[
        str | None, typer.Option(help="none, launch or alert: what follows when it is stale.")
    ] = None
    maximum_launches: Annotated[
        int | None, typer.Option(min=1, max=100, help="How often it is launched until it is fresh.")
    ] = None
    file: ObjectFile = None

    def body(self) -> dict[str, Any]:
        """Returns the request."""
        return merge(
            read_object(self.file),
            max_age_seconds=self.max_age_seconds,
            deadline_cron=self.deadline_cron,
            timezone=self.timezone,
            severity=self.severity,
            reaction=self.reaction,
            maximum_launches=self.maximum_launches,
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


@api_command(app, "states", columns=("asset_key", "state", "last_loaded_at", "policy_id"))
def list_states(session: Session) -> Any:
    """Show which tables are fresh, and which are not."""
    return session.client.get(session.path("freshness"))["data"]


@api_command(app, "reactions")
def list_reactions(session: Session, reference: Reference, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List what was done about stale tables, the latest first."""
    found = session.find(COLLECTION, reference)
    path = session.path(COLLECTION, found["id"], "reactions")
    return list(islice(session.client.pages(path), limit))
