"""Secrets that were stored before data keys had a table are readable after it, and back."""

import json

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine, create_engine, make_url, text

from control_plane.core import crypto
from control_plane.core.crypto import Binding
from control_plane.core.database import make_engine, make_session_factory, transaction
from control_plane.core.vault import StaticKeys, Vault
from tests.fixtures.control_plane import Databases, migrate

KEY = Fernet.generate_key().decode()
ORGS = {1: "acme", 2: "globex"}
DATABASE = "keys_migrated"


@pytest.fixture
def at_first_revision(databases: Databases, postgres_cluster) -> Databases:
    """A database at revision 0001."""
    admin = create_engine(postgres_cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {DATABASE}"))
        connection.execute(text(f"CREATE DATABASE {DATABASE} OWNER datanika_owner"))
    admin.dispose()

    def there(url: str) -> str:
        return make_url(url).set(database=DATABASE).render_as_string(hide_password=False)

    moved = Databases(there(databases.app), there(databases.owner), databases.endpoints)
    migrate(moved.owner, "0001")
    return moved


def store(engine: Engine) -> dict[tuple[int, int], dict[str, str]]:
    """Two orgs with two connections each, as the first version stored them; one has no secrets."""
    kek = crypto.MultiFernet([Fernet(KEY)])
    stored = {}
    for org_id, slug in ORGS.items():
        data_key = Fernet.generate_key()
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO organizations"
                    " (id, slug, name, wrapped_data_key, is_suspended, created_at, updated_at)"
                    " OVERRIDING SYSTEM VALUE"
                    " VALUES (:id, :slug, :slug, :key, :suspended, now(), now())"
                ),
                {
                    "id": org_id,
                    "slug": slug,
                    "key": crypto.wrap_key(kek, data_key),
                    "suspended": org_id == 2,
                },
            )
            for number in (1, 2):
                row_id = org_id * 10 + number
                values = {"password": f"canary {row_id}"} if number == 1 else {}
                binding = Binding(org_id, "connections", row_id)
                connection.execute(
                    text(
                        "INSERT INTO connections (id, org_id, slug, name, connector, direction,"
                        " config, secrets, created_at, updated_at) OVERRIDING SYSTEM VALUE"
                        " VALUES (:id, :org, :slug, :slug, 'postgres', 'source', :config, :secrets,"
                        " now(), now())"
                    ),
                    {
                        "id": row_id,
                        "org": org_id,
                        "slug": f"c{row_id}",
                        "config": json.dumps({"host": "db.example.com"}),
                        "secrets": crypto.seal(data_key, binding, values) if values else None,
                    },
                )
                stored[org_id, row_id] = values
    return stored


def assert_readable(databases: Databases, stored: dict[tuple[int, int], dict[str, str]]) -> None:
    engine = make_engine(databases.app, pool_size=1)
    vault = Vault(StaticKeys([KEY]))
    factory = make_session_factory(engine)
    for (org_id, row_id), values in stored.items():
        with transaction(factory, org_id) as session:
            row = session.execute(
                text(
                    "SELECT c.secrets, k.wrapped_key FROM connections c"
                    " LEFT JOIN data_keys k ON k.id = c.secrets_key_id WHERE c.id = :id"
                ),
                {"id": row_id},
            ).one()
            if not values:
                assert tuple(row) == (None, None)
                continue
            binding = Binding(org_id, "connections", row_id)
            assert vault.decrypt(row.wrapped_key, binding, row.secrets) == values
    engine.dispose()


def test_up_down_and_up_again(at_first_revision: Databases, postgres_cluster):
    superuser = create_engine(postgres_cluster.url(DATABASE))
    stored = store(superuser)
    assert len(stored) == 4
    owner = at_first_revision.owner
    migrate(owner, "head")
    assert_readable(at_first_revision, stored)
    migrate(owner, "0001", down=True)
    with superuser.begin() as connection:
        wrapped = connection.execute(text("SELECT id, wrapped_data_key FROM organizations")).all()
    kek = crypto.MultiFernet([Fernet(KEY)])
    assert {len(crypto.unwrap_key(kek, key)) for _, key in wrapped} == {44}
    migrate(owner, "head")
    assert_readable(at_first_revision, stored)
    with superuser.begin() as connection:
        for table in ("organizations", "connections", "data_keys"):
            forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname = :table"
            assert connection.execute(text(forced), {"table": table}).scalar(), table
    superuser.dispose()
