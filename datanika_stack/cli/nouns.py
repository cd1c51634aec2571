"""The commands that speak to the REST API; `main` adds them to `datanika`. One line per noun."""

import typer

from datanika_stack.cli import (
    api_key,
    audit,
    connection,
    deleted,
    dependency,
    freshness_policy,
    invitation,
    login_session,
    member,
    operator,
    organization,
    password,
    platform_keys,
    run,
    schedule,
    system,
    transformation,
    upload,
    warehouse,
)
from datanika_stack.cli.login import add_login
from datanika_stack.cli.publishing import add_publishing

NOUNS: dict[str, typer.Typer] = {
    "org": organization.app,
    "member": member.app,
    "invitation": invitation.app,
    "session": login_session.app,
    "password": password.app,
    "connection": connection.app,
    "upload": upload.app,
    "transformation": transformation.app,
    "dependency": dependency.app,
    "schedule": schedule.app,
    "freshness-policy": freshness_policy.app,
    "run": run.app,
    "api-key": api_key.app,
    "warehouse": warehouse.app,
    "deleted": deleted.app,
    "audit": audit.app,
    "keys": platform_keys.app,
    "operator": operator.app,
    "system": system.app,
}


def add_nouns(app: typer.Typer) -> None:
    """Adds every command of the REST API to `app`."""
    add_login(app)
    for name, noun in NOUNS.items():
        app.add_typer(noun, name=name)
    add_publishing(app)
    platform_keys.add_unlocking(app)
