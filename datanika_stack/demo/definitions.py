"""What the demo defines: the bodies that it posts, as a user would write them.

It must not know how they are sent.
"""

from importlib.resources import files
from typing import Any

from datanika_stack.demo import airline

ORG_NAME = "Acme"
OWNER_EMAIL = "owner@acme.example"
SCHEMA = "airline"
UPLOAD_NAME = "Airline"
SOURCE_NAME = "Airline database"
DAILY_CRON = "0 6 * * *"
TIMEZONE = "America/New_York"
_TWENTY_SIX_HOURS_SECONDS = 26 * 3600


def source_connection(*, port: int, password: str) -> dict[str, Any]:
    """Returns the connection to the demo's source database."""
    return {
        "name": SOURCE_NAME,
        "connector": "postgres",
        "direction": "source",
        "config": {
            "host": "127.0.0.1",
            "port": port,
            "database": airline.DATABASE,
            "user": airline.READER,
            "password": password,
            "sslmode": "disable",
        },
    }


def upload(*, source_connection_id: int, destination_connection_id: int) -> dict[str, Any]:
    """Returns the load of all five tables, which replaces what is there."""
    return {
        "name": UPLOAD_NAME,
        "source_connection_id": source_connection_id,
        "destination_connection_id": destination_connection_id,
        "config": {
            "mode": "full_database",
            "source_schema": "public",
            "table_names": sorted(airline.TABLES),
            "target_schema": SCHEMA,
            "write_disposition": "replace",
        },
    }


def transformations() -> list[dict[str, Any]]:
    """Returns the models: two staging views and one mart table, with their tests."""
    return [
        _model("stg_flights", "staging", "view", _STG_FLIGHTS_TESTS),
        _model("stg_weather", "staging", "view", _STG_WEATHER_TESTS),
        _model("mart_carrier_daily_delays", "marts", "table", _MART_TESTS),
    ]


def schedule(upload_id: int) -> dict[str, Any]:
    """Returns the daily load, early in the morning where the flights are."""
    return {
        "cron": DAILY_CRON,
        "timezone": TIMEZONE,
        "target_type": "upload",
        "target_id": upload_id,
        "is_active": True,
    }


def dependency(upload_id: int, transformation_id: int) -> dict[str, Any]:
    """Returns the edge that puts the load before a model."""
    return {
        "upstream_type": "upload",
        "upstream_id": upload_id,
        "downstream_type": "transformation",
        "downstream_id": transformation_id,
    }


def freshness_policy(upload_id: int) -> dict[str, Any]:
    """Returns the promise that flights are never older than a day and two hours."""
    return {
        "target_type": "upload",
        "target_id": upload_id,
        "table": "flights",
        "max_age_seconds": _TWENTY_SIX_HOURS_SECONDS,
        "severity": "warn",
    }


def _model(
    name: str, schema: str, materialization: str, tests: list[dict[str, Any]]
) -> dict[str, Any]:
    sql = files("datanika_stack.demo").joinpath("models", f"{name}.sql").read_text()
    return {
        "name": name,
        "schema": schema,
        "sql": sql,
        "materialization": materialization,
        "tests": tests,
    }


def _not_null(column: str) -> dict[str, Any]:
    return {"type": "not_null", "column": column}


def _unique(column: str) -> dict[str, Any]:
    return {"type": "unique", "column": column}


_STG_FLIGHTS_TESTS = [
    _not_null("flight_key"),
    _unique("flight_key"),
    _not_null("carrier"),
    {"type": "accepted_values", "column": "origin", "values": ["EWR", "JFK", "LGA"]},
    # Fails: the register of planes does not know every tail number that flew.
    {
        "type": "relationships",
        "column": "tailnum",
        "to": f"{SCHEMA}.planes",
        "field": "tailnum",
        "severity": "warn",
    },
]
_STG_WEATHER_TESTS = [_not_null("weather_key"), _unique("weather_key")]
_MART_TESTS = [
    _not_null("carrier_day_key"),
    _unique("carrier_day_key"),
    _not_null("flights"),
    {
        "type": "relationships",
        "column": "carrier",
        "to": f"{SCHEMA}.airlines",
        "field": "carrier",
    },
]
