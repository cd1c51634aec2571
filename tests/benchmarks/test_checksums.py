"""Checksums tell NULL from the empty string and see every lost decimal."""

import psycopg
import pytest

from benchmarks.checksums import different_columns, table_checksum


@pytest.fixture
def connection(postgres_cluster):
    with psycopg.connect(postgres_cluster.dsn()) as connection:
        yield connection
        connection.rollback()


def checksum(connection, *rows, type_="text"):
    connection.execute(f"create temp table t (id int, a {type_}) on commit drop")
    connection.cursor().executemany("insert into t values (%s, %s)", enumerate(rows))
    schema = connection.execute("select nspname from pg_namespace where oid = pg_my_temp_schema()")
    result = table_checksum(connection, schema.fetchone()[0], "t")
    connection.execute("drop table t")
    return result


def test_the_same_rows_in_another_order(connection):
    first = checksum(connection, "x", None)
    assert different_columns(first, first) == []
    assert different_columns(first, checksum(connection, None, "x")) == []


@pytest.mark.parametrize(
    ("original", "copy"), [(None, ""), ("1.10", "1.1"), ("a", "b"), ("x", "x ")]
)
def test_a_changed_value_is_seen(connection, original, copy):
    wrong = different_columns(checksum(connection, original), checksum(connection, copy))
    assert wrong == ["a"]


def test_a_cut_decimal_is_seen(connection):
    whole = checksum(connection, "10.357019999999999", type_="numeric")
    assert different_columns(whole, checksum(connection, "10.357020000", type_="numeric")) == ["a"]


def test_a_lost_row_is_seen(connection):
    wrong = different_columns(checksum(connection, "x", "x"), checksum(connection, "x"))
    assert wrong == ["(rows)", "id", "a"]
