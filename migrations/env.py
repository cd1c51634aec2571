"""Runs the migrations of the control-plane database, as the role that owns its tables."""

import importlib
import pkgutil

from alembic import context
from sqlalchemy import Connection, create_engine, pool

import control_plane
from control_plane.core.database import Base
from control_plane.settings import MigrationSettings

LOCK_TIMEOUT = "10s"


def import_all_models() -> None:
    """Imports each feature's `models.py`, so that the metadata knows every table."""
    for module in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
        if module.name.endswith(".models"):
            importlib.import_module(module.name)


def run(connection: Connection) -> None:
    """Migrates in one transaction; a migration that cannot get its locks gives up early."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        context.run_migrations()


import_all_models()
given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = MigrationSettings().database_url.get_secret_value()  # pyright: ignore[reportCallIssue]
    with create_engine(url, poolclass=pool.NullPool).connect() as opened:
        run(opened)
