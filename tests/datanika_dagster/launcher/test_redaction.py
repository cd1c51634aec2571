"""Secrets come out of what a process says, whatever form they are in."""

import base64
import json
from urllib.parse import quote

import pytest

from datanika_dagster.launcher.redaction import REPLACEMENT, Redactor

PASSWORD = 'p@ss/w"örd\\1'


def redactor(password=PASSWORD, connector="postgres"):
    config = {"host": "db.example", "user": "loader", "password": password}
    return Redactor({"airline": {"connector": connector, "config": config}})


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        json.dumps(PASSWORD)[1:-1],
        repr(PASSWORD)[1:-1],
        base64.b64encode(PASSWORD.encode()).decode(),
    ],
)
def test_takes_out_every_form(form):
    said = redactor().text(f"connecting with {form} to db.example")
    assert said == f"connecting with {REPLACEMENT} to db.example"


def test_leaves_what_is_not_secret():
    assert redactor().text("loader at db.example") == "loader at db.example"


def test_takes_all_texts_of_an_unknown_connector_for_secret():
    assert "loader" not in redactor(connector="from_a_plugin").text("loader at db.example")


def test_a_key_of_several_lines_is_taken_out_line_by_line():
    key = "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----"
    assert "MIIEvQ" not in redactor(key).text("bad key line: MIIEvQIBADANBg")


def test_json_is_cleaned_in_keys_and_texts_and_keeps_its_shape():
    message = {"a": [PASSWORD, 1, None, True], PASSWORD: {"b": f"x{PASSWORD}y"}}
    assert redactor().json(message) == {
        "a": [REPLACEMENT, 1, None, True],
        REPLACEMENT: {"b": f"x{REPLACEMENT}y"},
    }


def test_no_secrets_nothing_to_do():
    assert Redactor({}).text("anything") == "anything"
