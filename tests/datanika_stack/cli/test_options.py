"""The options of a command are those that its endpoint takes."""

import pytest
import typer
from typer.main import get_command

from control_plane.connections.schemas import ConnectionCreate, ConnectionUpdate
from control_plane.freshness.schemas import FreshnessPolicyCreate, FreshnessPolicyUpdate
from control_plane.schedules.schemas import ScheduleCreate, ScheduleUpdate
from control_plane.transformations.schemas import TransformationCreate, TransformationUpdate
from control_plane.uploads.schemas import UploadCreate, UploadUpdate
from datanika_stack.cli.main import app
from datanika_stack.cli.reference import walk

# The options that are no field of their own but stand for one, or for several.
FIELDS_OF = {
    "target": {"target_type", "target_id"},
    "connection": {"connection_id"},
    "source": {"source_connection_id"},
    "destination": {"destination_connection_id"},
    "sql_file": {"sql"},
    "settings": {"config"},
    "config_file": {"config"},
    "password_stdin": {"config"},
    "mode": {"config"},
    "tables": {"config"},
    "source_schema": {"config"},
    "target_schema": {"config"},
    "write_disposition": {"config"},
}
FOR_EVERY_COMMAND = {"org", "api_url", "home", "as_json", "file", "reference", "help"}
BODIES = {
    ("connection", "create"): ConnectionCreate,
    ("connection", "update"): ConnectionUpdate,
    ("upload", "create"): UploadCreate,
    ("upload", "update"): UploadUpdate,
    ("transformation", "create"): TransformationCreate,
    ("transformation", "update"): TransformationUpdate,
    ("schedule", "create"): ScheduleCreate,
    ("schedule", "update"): ScheduleUpdate,
    ("freshness-policy", "create"): FreshnessPolicyCreate,
    ("freshness-policy", "update"): FreshnessPolicyUpdate,
}


def options_of(noun, verb):
    """Returns the names of a command's own options."""
    command = get_command(app).commands[noun].commands[verb]
    return {parameter.name for parameter in command.params} - FOR_EVERY_COMMAND


def fields_of(model):
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(("noun", "verb"), BODIES)
def test_no_option_is_always_refused(noun, verb):
    allowed = fields_of(BODIES[noun, verb])
    options = {option: FIELDS_OF.get(option, {option}) for option in options_of(noun, verb)}
    assert {option for option, fields in options.items() if not fields <= allowed} == set()


# What belongs to a person or to the platform, not to an org, or names its org itself.
WITHOUT_ORG = {
    *("login", "logout", "whoami", "unlock", "seal", "session", "password", "operator", "system"),
    *("keys status", "keys set-password", "keys change-password", "keys rotate"),
    *("keys rotation-status", "invitation accept"),
    *("org create", "org list", "org use", "org delete"),
}


def test_org_stands_where_there_is_one():
    found = {path.removeprefix("datanika "): c for path, c in walk(get_command(app), "datanika")}
    options = {path: {p.name for p in command.params} for path, command in found.items()}
    of_api = {path for path, names in options.items() if "api_url" in names}
    without = {path for path in of_api if "org" not in options[path]}
    assert {p if p in WITHOUT_ORG else p.partition(" ")[0] for p in without} == WITHOUT_ORG
    assert {p for p in of_api - without if p.partition(" ")[0] in WITHOUT_ORG} == set()
    assert {"keys rotate-org", "org get", "api-key list"} <= of_api - without


def test_options_are_found():
    assert {"target", "table", "severity"} <= options_of("freshness-policy", "create")
    assert isinstance(app, typer.Typer)
