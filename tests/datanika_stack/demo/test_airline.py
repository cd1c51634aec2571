"""The demo's source database, on a real cluster."""

import time

import psycopg
import pytest

from datanika_stack.demo import airline
from datanika_stack.demo.airline import DataSetMissingError, open_csv

ROWS = {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336776}
PASSWORD = 'it\'s-a-"reader"@password'


@pytest.fixture(scope="module")
def source(postgres_cluster):
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {airline.DATABASE}")
    url = postgres_cluster.dsn(airline.DATABASE)
    started = time.monotonic()
    rows = airline.fill(url, reader_password=PASSWORD)
    return postgres_cluster, url, rows, time.monotonic() - started


def one(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()


class TestFill:
    def test_loads_every_row(self, source):
        assert source[2] == ROWS

    def test_is_quick(self, source):
        assert source[3] < 30  # five seconds on an idle machine

    def test_na_is_null_and_nothing_else_is(self, source):
        nulls = one(
            source[1],
            "select count(*) filter (where tailnum is null), "
            "count(*) filter (where dep_time is null), count(*) filter (where tailnum = 'NA') "
            "from flights",
        )
        assert nulls == (2512, 8255, 0)

    def test_no_decimal_is_lost(self, source):
        with open_csv("weather") as file:
            header, *lines = file.read().decode().splitlines()
        position = header.split(",").index("wind_speed")
        texts = {line.split(",")[position] for line in lines} - {"NA"}
        with psycopg.connect(source[1]) as connection:
            rows = connection.execute("select distinct wind_speed::text from weather").fetchall()
        assert {row[0] for row in rows} - {None} == texts
        assert max(len(text.partition(".")[2]) for text in texts) == 16

    def test_times_are_in_utc(self, source):
        first = one(source[1], "select min(time_hour) at time zone 'UTC' from weather")
        assert str(first[0]) == "2013-01-01 06:00:00"

    def test_tail_numbers_really_are_not_all_known(self, source):
        query = (
            "select count(*) from flights left join planes using (tailnum) "
            "where tailnum is not null and engine is null"
        )
        assert one(source[1], query) == (50094,)

    def test_again_keeps_the_rows_and_sets_the_password(self, source):
        cluster, url, *_ = source
        assert airline.fill(url, reader_password="another") == ROWS
        reader = cluster.dsn(airline.DATABASE, airline.READER, "another")
        assert one(reader, "select count(*) from airlines") == (16,)
        airline.fill(url, reader_password=PASSWORD)


class TestReader:
    def test_reads_only(self, source):
        url = source[0].dsn(airline.DATABASE, airline.READER, PASSWORD)
        assert one(url, "select count(*) from flights") == (336776,)
        for statement in ("delete from planes", "create table x (a int)", "create schema x"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                one(url, statement)

    def test_password_is_needed(self, source):
        with pytest.raises(psycopg.OperationalError):
            one(source[0].dsn(airline.DATABASE, airline.READER, "wrong"), "select 1")


class TestOpenCsv:
    def test_unknown_table(self):
        with pytest.raises(DataSetMissingError, match="no file for the table 'trains'"):
            open_csv("trains").__enter__()
