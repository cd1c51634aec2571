"""Secrets come out of what a process says, whatever form they are in."""

import base64
import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from datanika_dagster.launcher.redaction import OUTPUT_CUT, REPLACEMENT, Redactor

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


def entry(kind, value):
    return {"type": kind, "raw_value": value}


class TestMessages:
    @pytest.mark.parametrize("password", ["acme", "model", "log", "public", "message", "opened"])
    def test_a_password_that_is_a_word_leaves_ids_methods_and_keys_alone(self, password):
        messages = [
            {"method": "opened", "params": {"extras": {}}},
            {"method": "log", "params": {"message": "x", "level": "INFO"}},
            {
                "method": "report_asset_materialization",
                "params": {
                    "asset_key": "acme/warehouse/public/model_log",
                    "data_version": None,
                    "metadata": {"model_log": entry("int", 3), "acme": entry("text", "x")},
                },
            },
            {
                "method": "report_asset_check",
                "params": {
                    "asset_key": "acme/warehouse/public/model_log",
                    "check_name": "not_null_model",
                    "metadata": {"public": entry("table_schema", {"columns": [{"name": "log"}]})},
                },
            },
            {
                "method": "report_custom_message",
                "params": {"payload": {"dbt": {"unique_id": "model.acme.log", "status": "pass"}}},
            },
        ]
        for message in messages:
            assert redactor(password).message(message) == message

    def test_free_text_is_cleaned(self):
        said, clean = f"via {PASSWORD}", f"via {REPLACEMENT}"
        cleaned = redactor().message
        log = {"method": "log", "params": {"message": said, "level": "INFO"}}
        assert cleaned(log)["params"]["message"] == clean
        report = {
            "method": "report_asset_check",
            "params": {
                "metadata": {
                    "a": entry("text", said),
                    "b": entry("md", said),
                    "c": entry("__infer__", said),
                    "d": entry("json", {"x": [said, 1]}),
                }
            },
        }
        metadata = cleaned(report)["params"]["metadata"]
        values = [metadata[name]["raw_value"] for name in "abcd"]
        assert values == [clean, clean, clean, {"x": [clean, 1]}]
        own = {"unique_id": "m", "message": said, "adapter_response": said}
        custom = {"method": "report_custom_message", "params": {"payload": {"dbt": own}}}
        assert cleaned(custom)["params"]["payload"]["dbt"] == {
            "unique_id": "m",
            "message": clean,
            "adapter_response": clean,
        }
        closed = {"method": "closed", "params": {"exception": {"message": said}}}
        assert cleaned(closed)["params"]["exception"]["message"] == clean

    def test_an_outcome_keeps_its_code_and_its_field(self):
        error = {"code": "upload.failed", "message": "upload: no", "field": "upload_id"}
        outcome = redactor("upload").outcome({"ok": False, "error": error})
        assert outcome["error"] == error | {"message": f"{REPLACEMENT}: no"}

    def test_a_text_that_was_cut_to_its_limit_stays_within_it(self):
        log = {"method": "log", "params": {"message": "log" * 1000, "level": "INFO"}}
        assert len(redactor("log").message(log)["params"]["message"]) == 3000


def test_no_secrets_nothing_to_do():
    assert Redactor({}).text("anything") == "anything"


PRINTS_TOO_MUCH = """
from datanika_dagster.launcher import redaction
redaction.OUTPUT_CHARACTERS = 1000
output = redaction.RedactedOutput(redaction.Redactor({}), 1)
for _ in range(100_000):
    print("again and again")
output.close()
"""


def test_what_is_printed_without_end_is_cut(tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as output:
        subprocess.run([sys.executable, "-c", PRINTS_TOO_MUCH], stdout=output, check=True)
    printed = log.read_text()
    assert printed.startswith("again and again\n")
    assert printed.endswith(f"{OUTPUT_CUT}\n")
    assert len(printed) < 1100
