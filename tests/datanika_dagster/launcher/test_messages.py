"""What a job may say: each line is a claim until it has been checked."""

import json

import pytest

from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher.log_allowance import LogAllowance
from datanika_dagster.launcher.messages import BEAT, LINE_BYTES, LOG_CHARACTERS, StepContract

FLIGHTS = "acme/warehouse/raw/flights"
FOREIGN = "globex/warehouse/raw/flights"


def contract():
    return StepContract({FLIGHTS}, {(FLIGHTS, "not_null")})


def line(method, **params):
    return json.dumps({"method": method, "params": params}).encode()


def materialization(asset_key=FLIGHTS, **more):
    return line("report_asset_materialization", asset_key=asset_key, **more)


def check(**more):
    fields = {
        "asset_key": FLIGHTS,
        "check_name": "not_null",
        "passed": True,
        "severity": "WARN",
        "metadata": None,
    }
    return line("report_asset_check", **(fields | more))


def typed(kind, value):
    return {"metadata": {"rows": {"type": kind, "raw_value": value}}}


GOOD_METADATA = [
    ("__infer__", 3),
    ("__infer__", "text"),
    ("int", 3),
    ("float", 0.5),
    ("text", "x"),
    ("bool", True),
    ("json", {"a": [1]}),
    ("null", None),
    ("table_schema", {"columns": [{"name": "id", "type": "bigint"}]}),
]
BAD_METADATA = [
    ("__infer__", {"a": 1}),
    ("int", "3"),
    ("int", True),
    ("float", "0.5"),
    ("text", 3),
    ("json", "x"),
    ("null", 0),
    ("path", "/etc/passwd"),
    ("notebook", "/etc/passwd"),
    ("asset", FOREIGN),
    ("dagster_run", "another"),
    ("table_schema", {"columns": [{"name": "id"}]}),
    ("table_schema", {"columns": [{"name": 1, "type": "x"}]}),
    (["int"], 3),
]


class TestAccepts:
    def test_reports_about_its_own_step(self):
        step = contract()
        step.read(line("opened"))
        step.read(materialization(data_version=None, metadata=None))
        step.read(check())
        step.read(line("closed"))
        assert step.unreported() == []

    @pytest.mark.parametrize(("kind", "value"), GOOD_METADATA)
    def test_metadata_of_its_type(self, kind, value):
        contract().read(materialization(**typed(kind, value)))

    @pytest.mark.parametrize("level", ["debug", "INFO", "warning", "ERROR"])
    def test_log_levels(self, level):
        contract().read(line("log", message="loading", level=level))

    def test_a_beat_behind_the_last_message(self):
        """Its thread does not know that the others have finished."""
        step = contract()
        step.read(line("closed"))
        assert step.read(line(BEAT)) is None


class TestRefuses:
    @pytest.mark.parametrize(
        "claim",
        [
            materialization(FOREIGN),
            materialization("acme/warehouse/raw/planes"),
            materialization(["acme"]),
            materialization(None),
            check(asset_key=FOREIGN),
            check(check_name="another"),
            check(passed="yes"),
            check(severity="FATAL"),
            line("report_asset_check", asset_key=FLIGHTS, check_name="not_null"),
            materialization(partition="2026-01-01"),
            line("log", message="x", level="fatal"),
            line("log", message="x" * (LOG_CHARACTERS + 1), level="info"),
            line("log", message=3, level="info"),
            line("log_external_stream", stream="stdout", text="x"),
            line("something_new"),
            b"not json",
            b"[]",
            b'{"method": "opened", "params": []}',
            b"[" * 100_000,
            b"\xff\xfe",
            materialization(metadata=[]),
            materialization(metadata={str(i): {"type": "int", "raw_value": i} for i in range(101)}),
        ],
    )
    def test_what_is_not_a_proper_claim(self, claim):
        with pytest.raises(MessageRefused):
            contract().read(claim)

    @pytest.mark.parametrize(("kind", "value"), BAD_METADATA)
    def test_metadata_of_another_type(self, kind, value):
        with pytest.raises(MessageRefused):
            contract().read(materialization(**typed(kind, value)))

    @pytest.mark.parametrize("claim", [materialization(), check()])
    def test_the_same_twice(self, claim):
        step = contract()
        step.read(claim)
        with pytest.raises(MessageRefused, match="twice"):
            step.read(claim)

    def test_a_line_that_is_too_long(self):
        with pytest.raises(MessageRefused, match="too long"):
            contract().read(b" " * (LINE_BYTES + 1))

    def test_anything_after_the_last_message(self):
        step = contract()
        step.read(line("closed"))
        with pytest.raises(MessageRefused, match="went on"):
            step.read(line("log", message="x", level="info"))


def test_names_what_was_never_reported():
    step = contract()
    assert step.unreported() == [FLIGHTS, f"not_null of {FLIGHTS}"]


class TestLogAllowance:
    def said(self, text="x"):
        return line("log", message=text, level="info")

    def test_lines_beyond_it_are_dropped_and_counted(self):
        step = StepContract({FLIGHTS}, set(), LogAllowance(lines=2))
        kept = [step.read(self.said()) is not None for _ in range(5)]
        assert kept == [True, True, False, False, False]
        words = step.logs.in_words()
        assert words.startswith("3 further lines")
        assert "a step keeps 2 lines" in words
        assert "DATANIKA_STEP_LOG_LINES" in words

    def test_bytes_beyond_it_are_dropped_and_counted(self):
        step = StepContract({FLIGHTS}, set(), LogAllowance(bytes_=10))
        kept = [step.read(self.said(text)) is not None for text in ("ééé", "éé", "é", "x")]
        assert kept == [True, True, False, False], "what is not kept makes no gaps"
        assert step.logs.dropped == 2

    def test_what_is_reported_counts_all_the_same(self):
        step = StepContract({FLIGHTS}, {(FLIGHTS, "not_null")}, LogAllowance(lines=0))
        assert step.read(self.said()) is None
        assert step.read(materialization())["method"] == "report_asset_materialization"
        assert step.read(check())["method"] == "report_asset_check"
        assert step.unreported() == []

    def test_a_dropped_line_must_still_be_a_proper_one(self):
        step = StepContract({FLIGHTS}, set(), LogAllowance(lines=0))
        with pytest.raises(MessageRefused):
            step.read(self.said("x" * (LOG_CHARACTERS + 1)))

    def test_nothing_is_said_where_nothing_was_dropped(self):
        step = contract()
        step.read(self.said())
        assert step.logs.in_words() is None
