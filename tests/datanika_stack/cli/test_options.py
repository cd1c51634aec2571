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


def test_options_are_found():
    assert {"target", "table", "severity"} <= options_of("freshness-policy", "create")
    assert isinstance(app, typer.Typer)
