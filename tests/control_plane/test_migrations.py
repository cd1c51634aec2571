"""The migrations make what the models say, and can be taken back."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text

from tests.fixtures.control_plane import ROOT, Databases, migrate


@pytest.fixture
def empty_database(databases: Databases, postgres_cluster) -> str:
    """A database of the owner's own, without tables; returns its URL."""
    owner = make_url(databases.owner)
    admin = create_engine(postgres_cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS migrated"))
        connection.execute(text("CREATE DATABASE migrated OWNER datanika_owner"))
    admin.dispose()
    return owner.set(database="migrated").render_as_string(hide_password=False)


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        names = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        )
        found = set(names.scalars())
    engine.dispose()
    return found


def test_up_down_and_up_again(empty_database: str):
    migrate(empty_database, "head")
    made = tables(empty_database)
    assert "organizations" in made
    migrate(empty_database, "base", down=True)
    assert tables(empty_database) == {"alembic_version"}
    migrate(empty_database, "head")
    assert tables(empty_database) == made


def test_the_models_have_nothing_that_no_migration_makes(databases: Databases):
    config = Config(ROOT / "alembic.ini")
    engine = create_engine(databases.owner)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
    engine.dispose()
