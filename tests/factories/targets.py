"""Rows that uploads, transformations and what names them stand on, without looking at a source."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.connections.models import Connection
from control_plane.metadata.models import DiscoveredTable
from control_plane.transformations.models import Transformation
from control_plane.uploads.models import Upload
from datanika_manifest.names import slugify

FLIGHTS = {"flight_id": "integer", "Carrier": "text", "departed_at": "timestamp with time zone"}
PLANES = {"tailnum": "text", "year": "integer"}


def add(session: Session, row: Any) -> Any:
    """Inserts a row and commits the request-like transaction."""
    session.add(row)
    session.commit()
    return row


def make_connection(session: Session, org_id: int, **values: Any) -> Connection:
    """A connection nobody can connect to; a source unless `direction` says otherwise."""
    name = values.get("name", f"Shop {secrets.token_hex(3)}")
    defaults = {
        "name": name,
        "slug": slugify(name),
        "connector": "postgres",
        "direction": "source",
        "config": {"host": "db.example.com", "port": 5432, "database": "shop", "user": "etl"},
    }
    return add(session, Connection(org_id=org_id, **{**defaults, **values}))


def make_tables(
    session: Session,
    connection: Connection,
    tables: Mapping[str, Mapping[str, str]] | None = None,
    *,
    schema: str = "public",
    primary_keys: Mapping[str, Sequence[str]] | None = None,
    kind: str = "table",
) -> None:
    """Tables as if a discovery had seen them: name → column → type."""
    keys = {"flights": ["flight_id"]} if primary_keys is None else primary_keys
    for name, columns in (tables or {"flights": FLIGHTS, "planes": PLANES}).items():
        session.add(
            DiscoveredTable(
                org_id=connection.org_id,
                connection_id=connection.id,
                schema_name=schema,
                table_name=name,
                kind=kind,
                row_estimate=10,
                columns=[{"name": c, "type": t, "nullable": True} for c, t in columns.items()],
                primary_key=list(keys.get(name, [])),
            )
        )
    session.commit()


def make_upload(session: Session, org_id: int, **values: Any) -> Upload:
    """An upload of `flights` and `planes` into the schema `airline` of a new connection."""
    if "source_connection_id" not in values:
        source = make_connection(session, org_id)
        make_tables(session, source)
        values["source_connection_id"] = source.id
    if "destination_connection_id" not in values:
        values["destination_connection_id"] = make_connection(
            session, org_id, direction="destination"
        ).id
    name = values.get("name", f"Airline {secrets.token_hex(3)}")
    defaults = {
        "name": name,
        "slug": slugify(name),
        "config": {
            "mode": "full_database",
            "table_names": ["flights", "planes"],
            "source_schema": "public",
            "target_schema": "airline",
            "write_disposition": "replace",
            "batch_size": 10_000,
        },
    }
    return add(session, Upload(org_id=org_id, **{**defaults, **values}))


def make_transformation(session: Session, org_id: int, **values: Any) -> Transformation:
    """A view of one row in a new connection, as if dbt had accepted it."""
    if "connection_id" not in values:
        values["connection_id"] = make_connection(session, org_id, direction="both").id
    name = values.get("name", f"model_{secrets.token_hex(3)}")
    defaults = {
        "name": name,
        "slug": slugify(name),
        "schema_name": "marts",
        "sql": "select 1 as one",
        "materialization": "view",
        "description": "",
        "tests": [],
    }
    return add(session, Transformation(org_id=org_id, **{**defaults, **values}))
