"""How many data keys the present key wraps is told without opening them, however many orgs."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from control_plane.core.database import enter_org, transaction
from control_plane.core.vault import Vault
from control_plane.tenancy.service import create_organization
from tests.control_plane.keys.conftest import PASSWORD, Platform, vault_of

SYSTEM = "/api/v1/system"
ROTATIONS = f"{SYSTEM}/key-encryption-key/rotations"


def make_orgs(platform: Platform, vault: Vault, count: int) -> None:
    """Orgs with a data key each, in one transaction."""
    with transaction(platform.factory) as session:
        for number in range(count):
            create_organization(session, vault, f"Org {number} of {count}")
            enter_org(session, None)


@contextmanager
def statements(client: TestClient) -> Generator[list[str]]:
    """What a control plane asks its database meanwhile."""
    engine = client.app.state.session_factory.kw["bind"]  # type: ignore[attr-defined]
    seen: list[str] = []

    def note(_connection, _cursor, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "after_cursor_execute", note)
    yield seen
    event.remove(engine, "after_cursor_execute", note)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "seal", None),
        ("POST", "unlock", {"password": PASSWORD}),
        ("POST", "seal", None),
        ("GET", "key-encryption-key/rotations", None),
    ],
)
def test_an_answer_costs_the_same_for_many_orgs(unlocked, platform, method, path, body):
    counts = []
    for orgs in (2, 20):
        make_orgs(platform, vault_of(unlocked), orgs)
        with statements(unlocked) as seen:
            answer = unlocked.request(method, f"{SYSTEM}/{path}", json=body)
        assert answer.is_success, answer.text
        counts.append(len(seen))
        unlocked.post(f"{SYSTEM}/unlock", json={"password": PASSWORD})
    assert counts[0] == counts[1]


class TestMasterPassword:
    def test_current_are_those_of_the_newest_key(self, unlocked, platform):
        make_orgs(platform, vault_of(unlocked), 3)
        with transaction(platform.factory) as session:
            session.execute(
                text(
                    "INSERT INTO key_encryption_keys"
                    " (wrapped_key, kdf, kdf_parameters, salt, created_at)"
                    " SELECT wrapped_key, kdf, kdf_parameters, salt, now() FROM key_encryption_keys"
                )
            )
        assert self.counts(unlocked) == {"total": 3, "current": 0}

    def test_also_while_sealed(self, unlocked, platform):
        make_orgs(platform, vault_of(unlocked), 3)
        assert unlocked.post(f"{SYSTEM}/seal").json()["data_keys"] == {"total": 3, "current": 3}

    def test_before_the_first_password_none_is(self, operator, platform, environment_key):
        environment = platform.vault(key_provider="environment", encryption_keys=environment_key)
        make_orgs(platform, environment, 2)
        assert self.counts(operator) == {"total": 2, "current": 0}

    def counts(self, client: TestClient) -> dict[str, int]:
        return client.get(f"{SYSTEM}/seal").json()["data_keys"]


class TestKeysFromOutside:
    """Which of several keys wraps a data key is seen only by opening it."""

    def test_only_the_progress_of_a_rotation_opens_them(self, serve, platform, environment_key):
        old = {"key_provider": "environment", "encryption_keys": environment_key}
        make_orgs(platform, platform.vault(**old), 3)
        new_key = Fernet.generate_key().decode()
        client = serve(**{**old, "encryption_keys": f"{new_key},{environment_key}"})
        seal = client.get(f"{SYSTEM}/seal").json()
        assert seal["data_keys"] == {"total": 3, "current": None}
        assert client.get(ROTATIONS).json()["data_keys"] == {"total": 3, "current": 0}
        begun = client.post(ROTATIONS, json={}).json()
        assert (begun["state"], begun["data_keys"]) == ("idle", {"total": 3, "current": None})
        assert client.get(ROTATIONS).json()["data_keys"] == {"total": 3, "current": 3}

    def test_those_of_a_master_password_are_known_not_to_be(self, serve, unlocked, platform):
        make_orgs(platform, vault_of(unlocked), 2)
        key = Fernet.generate_key().decode()
        client = serve(key_provider="environment", encryption_keys=key)
        seal = client.get(f"{SYSTEM}/seal").json()
        assert seal["data_keys"] == {"total": 2, "current": 0}
