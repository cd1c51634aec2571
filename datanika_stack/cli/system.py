"""`datanika system`: the organizations of the whole platform; for operators."""

from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.audit_filters import COLUMNS, AuditFilters, export
from datanika_stack.cli.command import NO_OUTPUT, orgless_command
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session

app = noun("The whole platform: its organizations and its own audit log; for operators.")
audit_app = noun("The platform's own audit log.")
app.add_typer(audit_app, name="audit")
Slug = Annotated[str, typer.Argument(help="Slug of the organization.")]


@orgless_command(app, "orgs")
def list_orgs(session: Session, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List every organization, also suspended and deleted ones."""
    return list(islice(session.client.pages("/system/orgs"), limit))


@orgless_command(app, "create-org")
def create_org(
    session: Session,
    name: Annotated[str, typer.Option(help="Name of the new organization.")],
    owner_email: Annotated[str, typer.Option(help="Who is invited as its owner.")],
) -> Any:
    """Make an organization and invite its owner."""
    return session.client.post("/system/orgs", {"name": name, "owner_email": owner_email})


@orgless_command(app, "quota")
def set_quota(
    session: Session,
    slug: Slug,
    parallel_runs: Annotated[
        int | None, typer.Option(min=0, help="Runs at once; left out: the platform's setting.")
    ] = None,
    runs_per_hour: Annotated[
        int | None, typer.Option(min=0, help="Runs that start within an hour; left out: likewise.")
    ] = None,
) -> Any:
    """Set what an organization may run."""
    body = {"parallel_runs": parallel_runs, "runs_per_hour": runs_per_hour}
    return session.client.put(f"/system/orgs/{slug}/quota", body)


@orgless_command(app, "suspend")
def suspend(session: Session, slug: Slug) -> Any:
    """Suspend an organization: nobody gets in, nothing of it runs."""
    return session.client.post(f"/system/orgs/{slug}/suspend")


@orgless_command(app, "resume")
def resume(session: Session, slug: Slug) -> Any:
    """End a suspension."""
    return session.client.post(f"/system/orgs/{slug}/resume")


@orgless_command(app, "restore")
def restore(session: Session, slug: Slug) -> Any:
    """Bring a deleted organization back."""
    return session.client.post(f"/system/orgs/{slug}/restore")


@orgless_command(app, "rotate-org")
def rotate_org(session: Session, slug: Slug) -> Any:
    """Encrypt an organization's secrets with a new key of its own, as after a leak."""
    return session.client.post(f"/system/orgs/{slug}/data-key/rotations")


@orgless_command(audit_app, "list", columns=COLUMNS)
def list_audit(session: Session, filters: AuditFilters, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List what was done to the platform itself, the newest first."""
    return list(islice(session.client.pages("/system/audit", filters.parameters()), limit))


@orgless_command(audit_app, "export")
def export_audit(session: Session, filters: AuditFilters) -> Any:
    """Write the platform's whole log to standard output, one JSON object per line."""
    for line in export(session, "/system/audit/export", filters):
        typer.echo(line)
    return NO_OUTPUT
