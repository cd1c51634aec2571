"""A tenant's template can write characters that no database takes."""

import json

from datanika_dagster.launcher import endings
from datanika_dagster.launcher.messages import StepContract
from datanika_dagster.launcher.texts import storable

NUL, HALF = chr(0), chr(0xD800)
FLIGHTS = "acme/warehouse/raw/flights"


def line(method, **params):
    return json.dumps({"method": method, "params": params}).encode()


def read(claim):
    return StepContract({FLIGHTS}, set()).read(claim)["params"]


def test_only_what_cannot_be_stored_is_replaced():
    assert storable({f"a{NUL}": [f"b{HALF}c", 1, None, "ü🛫\n"]}) == {
        "a\ufffd": ["b\ufffdc", 1, None, "ü🛫\n"]
    }


def test_every_text_of_a_message_can_be_stored():
    assert read(line("log", message=f"a{NUL}b{HALF}", level="info"))["message"] == "a\ufffdb\ufffd"
    metadata = {f"n{NUL}": {"type": "text", "raw_value": f"v{HALF}"}}
    report = read(line("report_asset_materialization", asset_key=FLIGHTS, metadata=metadata))
    assert report["metadata"] == {"n\ufffd": {"type": "text", "raw_value": "v\ufffd"}}
    error = {"code": "upload.failed", "message": f"no{NUL}", "field": None}
    outcome = {"datanika/outcome": {"ok": False, "error": error}}
    custom = read(line("report_custom_message", payload=outcome))
    read_outcome = endings.read_outcome(custom["payload"]["datanika/outcome"])
    assert read_outcome["error"]["message"] == "no\ufffd"
