"""Names that the source does not have, and what comes close to them."""

from typing import Any

import pytest

from control_plane.uploads.config import parse_config
from control_plane.uploads.errors import TargetConflict
from control_plane.uploads.source_check import SourceSchema, SourceTable, find_problems
from control_plane.uploads.tables import resolve


def table(name: str, *columns: str, key: tuple[str, ...] = (), kind: str = "table") -> SourceTable:
    return SourceTable(name, kind, columns, key)


def schema(*tables: SourceTable) -> SourceSchema:
    return SourceSchema({table.name: table for table in tables}, ["public", "sales"])


SOURCE = schema(
    table("flights", "flight_id", "Carrier", key=("flight_id",)),
    table("planes", "tailnum"),
    table("flights_today", "flight_id", kind="view"),
)


def problems(**config: Any) -> dict[str, str]:
    config.setdefault("mode", "full_database")
    return {e.pointer: e.detail for e in find_problems(parse_config(config), SOURCE)}


class TestFindProblems:
    def test_all_is_well(self):
        assert problems() == {}
        assert problems(mode="single_table", table="flights_today") == {}

    def test_unknown_schema(self):
        assert problems(source_schema="publik") == {
            "/config/source_schema": "unknown schema 'publik'; close to it: 'public'"
        }

    def test_schema_without_tables(self):
        empty = SourceSchema({}, ["public"])
        found = find_problems(parse_config({"mode": "full_database"}), empty)
        assert found[0].detail == "the schema 'public' has no table that could be loaded"

    def test_unknown_tables_by_position(self):
        assert problems(table_names=["flights", "plains", "zzz"]) == {
            "/config/table_names/1": "unknown table 'plains'; close to it: 'planes'",
            "/config/table_names/2": "unknown table 'zzz'; there are 3, for example "
            "'flights', 'planes', 'flights_today'",
        }

    def test_unknown_single_table(self):
        found = problems(mode="single_table", table="Flights")
        assert found["/config/table"].startswith("unknown table 'Flights'; close to it: 'flights'")

    def test_columns_are_exact_and_of_every_table(self):
        found = problems(
            mode="single_table",
            table="flights",
            incremental={"cursor": "carrier"},
            primary_key=["flight_id", "leg"],
            filters=[{"column": "Carrier", "op": "eq", "value": "UA"}],
        )
        assert found == {
            "/config/incremental/cursor": "unknown column of table 'flights' 'carrier'; "
            "close to it: 'Carrier'",
            "/config/primary_key/1": "unknown column of table 'flights' 'leg'; there are 2, "
            "for example 'flight_id', 'Carrier'",
        }
        filters = [{"column": "Carrier", "op": "eq", "value": "UA"}]
        assert "table 'planes'" in problems(filters=filters)["/config/filters/0/column"]

    def test_merge_needs_a_primary_key(self):
        found = problems(write_disposition="merge")
        assert "'merge' needs a primary key" in found["/config/primary_key"]
        assert "'planes'" in found["/config/primary_key"]
        assert problems(table_names=["flights"], write_disposition="merge") == {}
        single = {"mode": "single_table", "table": "planes", "primary_key": ["tailnum"]}
        assert problems(**single, write_disposition="merge") == {}


class TestResolve:
    def test_whole_schema_leaves_views_out(self):
        tables = resolve(parse_config({"mode": "full_database"}), SOURCE)
        assert [(t.source_table, t.primary_key) for t in tables] == [
            ("flights", ("flight_id",)),
            ("planes", ()),
        ]

    def test_target_names_are_slugs(self):
        source = schema(table("Order Lines"), table("2024"))
        tables = resolve(parse_config({"mode": "full_database"}), source)
        assert [t.target_table for t in tables] == ["x_2024", "order_lines"]

    def test_target_table_and_own_key(self):
        config = {
            "mode": "single_table",
            "table": "planes",
            "target_table": "aircraft",
            "primary_key": ["tailnum"],
        }
        (only,) = resolve(parse_config(config), SOURCE)
        assert (only.target_table, only.primary_key) == ("aircraft", ("tailnum",))

    def test_two_tables_with_one_target(self):
        source = schema(table("Orders"), table("orders"))
        with pytest.raises(TargetConflict, match="'Orders' and 'orders' would both be loaded"):
            resolve(parse_config({"mode": "full_database"}), source)
