"""`datanika schedule`: what runs by itself, and when."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object
from datanika_stack.cli.resources import ObjectFile, Reference, add_common_verbs, noun
from datanika_stack.cli.session import Session
from datanika_stack.cli.targets import target_fields

COLLECTION = "schedules"
app = noun("Schedules: what is launched by cron.")
add_common_verbs(
    app, COLLECTION, columns=("id", "cron", "timezone", "target_type", "target_id", "is_active")
)


@dataclass(frozen=True)
class ScheduleOptions:
    """What a schedule is made of, as options."""

    name: Annotated[str | None, typer.Option(help="Name of the schedule.")] = None
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '0 6 * * *'.")] = None
    timezone: Annotated[
        str | None, typer.Option(help="IANA time zone, such as America/New_York.")
    ] = None
    target: Annotated[
        str | None,
        typer.Option(metavar="TYPE:NAME", help="upload:NAME or transformation:NAME."),
    ] = None
    is_active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether it launches anything.")
    ] = None
    file: ObjectFile = None

    def body(self, session: Session) -> dict[str, Any]:
        """Returns the request."""
        return merge(
            read_object(self.file),
            name=self.name,
            cron=self.cron,
            timezone=self.timezone,
            is_active=self.is_active,
            **target_fields(session, self.target, "target"),
        )


@api_command(app, "create")
def create(session: Session, options: ScheduleOptions) -> Any:
    """Create a schedule."""
    return session.client.post(session.path(COLLECTION), options.body(session))


@api_command(app, "update")
def update(session: Session, reference: Reference, options: ScheduleOptions) -> Any:
    """Change what is given of a schedule and keep the rest."""
    found = session.find(COLLECTION, reference)
    return session.client.patch(session.path(COLLECTION, found["id"]), options.body(session))


@api_command(app, "next")
def list_next(
    session: Session,
    reference: Reference,
    count: Annotated[int, typer.Option(min=1, max=20, help="How many.")] = 5,
) -> Any:
    """Show when a schedule ticks next, in its time zone."""
    found = session.find(COLLECTION, reference)
    return session.client.get(session.path(COLLECTION, found["id"], "next"), {"count": count})
