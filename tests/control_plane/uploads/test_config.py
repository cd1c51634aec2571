"""What an upload's configuration may say before the source is asked."""

from typing import Any

import pytest

from control_plane.core.errors import Invalid
from control_plane.uploads.config import (
    LATER_KEYS,
    LATER_MODES,
    UploadMode,
    parse_config,
    stored_form,
)

SINGLE: dict[str, Any] = {"mode": "single_table", "table": "flights"}
FULL: dict[str, Any] = {"mode": "full_database"}


def errors_of(config: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        parse_config(config)
    return {error.pointer: error.detail for error in caught.value.errors}


class TestAccepted:
    def test_defaults(self):
        assert stored_form(parse_config(SINGLE)) == {
            "mode": "single_table",
            "table": "flights",
            "source_schema": "public",
            "write_disposition": "append",
            "batch_size": 10_000,
        }

    def test_everything(self):
        config = {
            **FULL,
            "table_names": ["flights", "planes"],
            "source_schema": "Sales Data",
            "target_schema": "sales",
            "write_disposition": "merge",
            "primary_key": ["id"],
            "incremental": {"cursor": "updated_at", "initial_value": "2026-01-01"},
            "filters": [
                {"column": "id", "op": "gt", "value": 5},
                {"column": "origin", "op": "not_in", "value": ["JFK", "LGA"]},
            ],
            "schema_contract": {"tables": "evolve", "columns": "freeze", "data_type": "evolve"},
            "batch_size": 1_000_000,
        }
        assert stored_form(parse_config(config)) == config

    def test_one_primary_key_column_as_text(self):
        assert parse_config({**SINGLE, "primary_key": "id"}).primary_key == ["id"]


class TestRefused:
    @pytest.mark.parametrize("mode", LATER_MODES)
    def test_later_modes_by_name(self, mode: str):
        detail = errors_of({"mode": mode})["/config/mode"]
        assert detail == (
            f"'{mode}' is not known yet in this version; known: single_table, full_database"
        )

    @pytest.mark.parametrize("key", LATER_KEYS)
    def test_later_keys_by_name(self, key: str):
        detail = errors_of({**SINGLE, key: "x"})[f"/config/{key}"]
        assert detail.startswith(f"'{key}' is not known yet in this version; known: mode, table,")

    @pytest.mark.parametrize(
        ("config", "pointer", "words"),
        [
            ({}, "/config/mode", "required"),
            ({"mode": "everything"}, "/config/mode", "'everything' is not known; known: single"),
            ({"mode": 5}, "/config/mode", "single_table"),
            ({"mode": "single_table"}, "/config/table", "is required in the mode 'single_table'"),
            ({**FULL, "table": "x"}, "/config/table", "cannot be set in the mode 'full_database'"),
            ({**FULL, "target_table": "x"}, "/config/target_table", "cannot be set in the mode"),
            ({**SINGLE, "table_names": ["x"]}, "/config/table_names", "cannot be set in the mode"),
            ({**FULL, "table_names": []}, "/config/table_names", "at least 1"),
            ({**FULL, "table_names": ["a", ""]}, "/config/table_names/1", "at least 1"),
            ({**FULL, "table_names": ["a", "a"]}, "/config/table_names", "'a' is named twice"),
            ({**SINGLE, "tabel": "x"}, "/config/tabel", "'tabel' is not known; known: mode,"),
            ({**SINGLE, "target_schema": "My Sales"}, "/config/target_schema", "'my_sales'"),
            ({**SINGLE, "target_schema": "pg_x"}, "/config/target_schema", "database itself"),
            ({**SINGLE, "target_table": "a__b"}, "/config/target_table", "'a_b'"),
            ({**SINGLE, "write_disposition": "upsert"}, "/config/write_disposition", "'merge'"),
            ({**SINGLE, "batch_size": 0}, "/config/batch_size", "greater than or equal to 1"),
            ({**SINGLE, "batch_size": 1_000_001}, "/config/batch_size", "1000000"),
            ({**SINGLE, "incremental": {}}, "/config/incremental/cursor", "required"),
            (
                {**SINGLE, "incremental": {"cursor": "id"}, "write_disposition": "replace"},
                "/config/incremental",
                "goes with 'append' or 'merge'",
            ),
            (
                {**SINGLE, "incremental": {"cursor": "id", "initial_value": [1]}},
                "/config/incremental/initial_value",
                "one text or number",
            ),
            (
                {**SINGLE, "schema_contract": {"columns": "explode"}},
                "/config/schema_contract/columns",
                "'freeze'",
            ),
        ],
    )
    def test_names_the_field(self, config: dict[str, Any], pointer: str, words: str):
        assert words in errors_of(config)[pointer]

    @pytest.mark.parametrize(
        ("op", "value", "words"),
        [
            ("eq", [1], "'eq' needs one text, number or boolean"),
            ("gt", None, "'gt' needs one"),
            ("ne", {"a": 1}, "'ne' needs one"),
            ("in", "JFK", "'in' needs a list with at least one value"),
            ("not_in", [], "'not_in' needs a list"),
            ("in", [["JFK"]], "no text, number or boolean"),
            ("in", [None], "no text, number or boolean"),
            ("in", list(range(1001)), "at most 1000"),
        ],
    )
    def test_filter_values_of_the_wrong_shape(self, op: str, value: Any, words: str):
        filters = [
            {"column": "a", "op": "eq", "value": 1},
            {"column": "b", "op": op, "value": value},
        ]
        assert words in errors_of({**SINGLE, "filters": filters})["/config/filters/1/value"]

    def test_unknown_operator(self):
        filters = [{"column": "a", "op": "like", "value": "x"}]
        assert "'not_in'" in errors_of({**SINGLE, "filters": filters})["/config/filters/0/op"]

    def test_the_detail_names_each_field(self):
        with pytest.raises(Invalid, match=r"mode: .*; batch_size: "):
            parse_config({"batch_size": 0})


def test_modes_of_now_and_later_do_not_overlap():
    assert set(UploadMode).isdisjoint(LATER_MODES)
