"""Rotations go on after kill -9, nothing is ever unreadable, and nothing stays on the old key."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from control_plane.audit.service import SYSTEM
from control_plane.connections.models import Connection
from control_plane.core.database import transaction
from control_plane.core.errors import Sealed
from control_plane.core.vault import Vault
from control_plane.keys import data_keys
from control_plane.keys.data_keys import DataKeyRotator
from control_plane.keys.maintenance import KeyMaintenance
from control_plane.keys.master_password import MasterPassword
from control_plane.keys.rotation import KeyRotator
from control_plane.keys.service import keyring_of
from control_plane.tenancy.models import DataKey
from control_plane.tenancy.secrets import OrgSecrets
from tests.control_plane.keys.conftest import PASSWORD, Platform
from tests.fixtures.control_plane import ROOT


@pytest.fixture
def vault(platform: Platform) -> Vault:
    """Unlocked by a master password that was set just now."""
    made = platform.vault()
    MasterPassword(platform.factory, keyring_of(made), SYSTEM).set(PASSWORD)
    return made


def unlocked_vault(platform: Platform) -> Vault:
    """The vault of a process that was unlocked after everything that happened so far."""
    made = platform.vault()
    MasterPassword(platform.factory, keyring_of(made), SYSTEM).unlock(PASSWORD)
    return made


def rotator(platform: Platform, vault: Vault) -> KeyRotator:
    return KeyRotator(platform.factory, vault, keyring_of(vault))


def end_some_orgs(platform: Platform, suspended: int, deleted: int) -> None:
    for org_id, change in (
        (suspended, "is_suspended = true"),
        (deleted, "deleted_at = now()"),
    ):
        with transaction(platform.factory, org_id) as session:
            session.execute(text(f"UPDATE organizations SET {change} WHERE id = {org_id}"))


def rotate_in_a_process(platform: Platform, **work: object) -> subprocess.CompletedProcess[str]:
    settings = {**platform.values, "database_url": platform.url, **work.pop("settings", {})}
    return subprocess.run(
        [sys.executable, "-m", "tests.control_plane.keys.rotating"],
        input=json.dumps({"password": None, **work, "settings": settings}, default=str),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestKeyEncryptionKey:
    def test_every_org_gets_the_new_key_and_the_old_one_goes(self, platform, vault):
        orgs = [platform.make_org(vault, connections=1) for _ in range(4)]
        end_some_orgs(platform, suspended=orgs[0], deleted=orgs[1])
        (old,) = keyring_of(vault).opened()
        rotation = rotator(platform, vault)
        rotation.begin(SYSTEM, PASSWORD)
        assert rotation.advance()
        (new,) = keyring_of(vault).opened()
        assert new.id != old.id
        assert platform.scalar("SELECT array_agg(id) FROM key_encryption_keys") == [new.id]
        wrapped_by = {k.key_encryption_key_id for ks in platform.data_keys().values() for k in ks}
        assert wrapped_by == {new.id}
        platform.assert_all_readable(vault)
        platform.assert_all_readable(unlocked_vault(platform))
        assert [entry for entry in platform.platform_audit() if "encryption_key" in entry] == [
            "rotate key_encryption_key",
            "rotation_completed key_encryption_key",
        ]

    def test_the_first_of_the_environments_keys_takes_over(self, platform, environment_key):
        old = {"key_provider": "environment", "encryption_keys": environment_key}
        vault = platform.vault(**old)
        platform.make_org(vault, connections=2)
        new_key = Fernet.generate_key().decode()
        both = platform.vault(**{**old, "encryption_keys": f"{new_key},{environment_key}"})
        platform.assert_all_readable(both)
        rotation = rotator(platform, both)
        rotation.begin(SYSTEM, None)
        assert rotation.advance()
        platform.assert_all_readable(platform.vault(**{**old, "encryption_keys": new_key}))
        with pytest.raises(Sealed):
            platform.assert_all_readable(vault)

    def test_a_replaced_file_is_enough_for_every_process(self, platform, tmp_path: Path):
        path = tmp_path / "keys"
        path.touch(0o600)
        first, second = (Fernet.generate_key().decode() for _ in range(2))
        path.write_text(first)
        values = {"key_provider": "file", "encryption_keys_file": path}
        here, there = platform.vault(**values), platform.vault(**values)
        platform.make_org(here, connections=2)
        path.write_text(f"{second}\n{first}\n")
        rotation = rotator(platform, here)
        rotation.begin(SYSTEM, None)
        assert rotation.advance()
        path.write_text(second)
        platform.assert_all_readable(there)
        platform.assert_all_readable(here)

    @pytest.mark.parametrize("provider", ["master_password", "environment"])
    def test_kill_9_at_any_point(self, platform, provider, environment_key):
        settings = {"key_provider": provider}
        password = PASSWORD if provider == "master_password" else None
        if password is None:
            settings["encryption_keys"] = environment_key
            start = platform.vault(**settings)
            new_key = Fernet.generate_key().decode()
            settings["encryption_keys"] = f"{new_key},{environment_key}"
        else:
            start = platform.vault()
            MasterPassword(platform.factory, keyring_of(start), SYSTEM).set(PASSWORD)
        for _ in range(5):
            platform.make_org(start, connections=1)
        rotate = {"kind": "key_encryption_key", "password": password, "settings": settings}
        for kill_after in (1, 2, 3, 1, 2, 3):
            killed = rotate_in_a_process(platform, **rotate, kill_after=kill_after)
            assert killed.returncode == -9, killed.stderr
            now = unlocked_vault(platform) if password else platform.vault(**settings)
            platform.assert_all_readable(now)
        finished = rotate_in_a_process(platform, **rotate)
        assert finished.stdout == "True\n", finished.stderr
        platform.assert_all_readable(now)
        assert platform.scalar("SELECT count(*) FROM key_rotations WHERE completed_at IS NULL") == 0
        if password:
            assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1
        else:
            only_new = platform.vault(**{**settings, "encryption_keys": new_key})
            platform.assert_all_readable(only_new)

    def test_the_worker_finishes_what_a_killed_process_began(self, platform, vault):
        for _ in range(3):
            platform.make_org(vault, connections=1)
        killed = rotate_in_a_process(
            platform, kind="key_encryption_key", password=PASSWORD, kill_after=4
        )
        assert killed.returncode == -9, killed.stderr
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 2
        # Without the newest key nothing is wrapped with the one before: it waits, and says why.
        with pytest.raises(Sealed, match="datanika unlock"):
            KeyMaintenance(platform.factory, vault).run_once()
        KeyMaintenance(platform.factory, unlocked_vault(platform)).run_once()
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1
        platform.assert_all_readable(unlocked_vault(platform))

    def test_a_worker_leaves_a_sealed_platform_alone(self, platform, vault):
        KeyMaintenance(platform.factory, platform.vault()).run_once()

    def test_one_lost_data_key_does_not_hold_up_the_others(self, platform, vault):
        orgs = [platform.make_org(vault, connections=1) for _ in range(3)]
        with transaction(platform.factory, orgs[1]) as session:
            lost = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
            session.execute(text("UPDATE data_keys SET wrapped_key = :lost"), {"lost": lost})
        rotation = rotator(platform, vault)
        rotation.begin(SYSTEM, PASSWORD)
        assert rotation.advance()
        for (org_id, connection_id), values in platform.stored.items():
            if org_id != orgs[1]:
                assert platform.read(vault, org_id, connection_id) == values

    def test_a_process_that_was_not_told_does_not_wrap_with_the_old_key(self, platform, vault):
        platform.make_org(vault, connections=1)
        other = unlocked_vault(platform)
        rotation = rotator(platform, vault)
        rotation.begin(SYSTEM, PASSWORD)
        assert rotation.advance()
        with pytest.raises(Sealed, match="datanika unlock"):
            platform.make_org(other)


class TestMoving:
    """From keys of the environment to another provider, and back."""

    def test_to_a_file(self, platform, environment_key, tmp_path: Path):
        environment = {"encryption_keys": environment_key}
        platform.make_org(platform.vault(key_provider="environment", **environment), 2)
        path = tmp_path / "keys"
        path.touch(0o600)
        path.write_text(Fernet.generate_key().decode())
        values = {"key_provider": "file", "encryption_keys_file": path}
        both = platform.vault(**values, **environment)
        platform.assert_all_readable(both)
        rotation = rotator(platform, both)
        rotation.begin(SYSTEM, None)
        assert rotation.advance()
        platform.assert_all_readable(platform.vault(**values))

    def test_there_and_back(self, platform, serve, environment_key):
        environment = {"key_provider": "environment", "encryption_keys": environment_key}
        platform.make_org(platform.vault(**environment), connections=2)
        rotations = "/api/v1/system/key-encryption-key/rotations"

        both = serve(encryption_keys=environment_key)
        both.post("/api/v1/system/master-password", json={"password": PASSWORD})
        vault = both.app.state.vault
        platform.assert_all_readable(vault)
        platform.make_org(vault, connections=1)
        answer = both.post(rotations, json={"password": PASSWORD})
        assert (answer.status_code, answer.json()["state"]) == (202, "idle")
        assert answer.json()["data_keys"] == {"total": 2, "current": 2}
        platform.assert_all_readable(unlocked_vault(platform))
        with pytest.raises(Sealed):
            platform.assert_all_readable(platform.vault(**environment))

        back = serve(**environment)
        seal = back.get("/api/v1/system/seal").json()
        assert seal["data_keys"] == {"total": 2, "current": 0}
        refused = back.post(rotations, json={})
        assert refused.json()["errors"][0]["pointer"] == "/password"
        assert back.post(rotations, json={"password": f"{PASSWORD}!"}).status_code == 403
        answer = back.post(rotations, json={"password": PASSWORD})
        assert answer.json()["state"] == "idle", answer.text
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 0
        platform.assert_all_readable(platform.vault(**environment))


class TestDataKey:
    def test_everything_moves_and_nobody_sees_a_change(self, platform, vault):
        org_id = platform.make_org(vault, connections=7)
        other = platform.make_org(vault, connections=1)
        statement = "SELECT id, version, updated_at, config FROM connections ORDER BY id"
        with transaction(platform.factory, org_id) as session:
            before = session.execute(text(statement)).all()
            session.execute(text("UPDATE connections SET deleted_at = now() WHERE id % 2 = 0"))
        ((old,), (untouched,)) = (platform.data_keys()[number] for number in (org_id, other))
        rotation = DataKeyRotator(platform.factory, vault, org_id)
        rotation.begin(SYSTEM)
        assert rotation.advance()
        after = platform.data_keys()
        assert [key.id for key in after[other]] == [untouched.id]
        (new,) = after[org_id]
        assert new.id > old.id
        with transaction(platform.factory, org_id) as session:
            assert session.execute(text(statement)).all() == before
            audit = "SELECT array_agg(action ORDER BY id) FROM audit_entries"
            assert session.scalar(text(audit)) == ["rotate", "rotation_completed"]
        platform.assert_all_readable(vault)

    def test_kill_9_at_any_point(self, platform, vault, monkeypatch):
        org_id = platform.make_org(vault, connections=10)
        rotate = {"kind": "data_key", "org_id": org_id, "password": PASSWORD, "batch_rows": 3}
        for kill_after in (1, 2, 5, 6, 4):
            killed = rotate_in_a_process(platform, **rotate, kill_after=kill_after)
            assert killed.returncode == -9, killed.stderr
            platform.assert_all_readable(vault)
            platform.add_connection(vault, org_id)
        KeyMaintenance(platform.factory, vault).run_once()
        assert len(platform.data_keys()[org_id]) == 1
        platform.assert_all_readable(vault)

    def test_a_ciphertext_that_nothing_opens_keeps_its_key(self, platform, vault, caplog):
        org_id = platform.make_org(vault, connections=2)
        lost = platform.add_connection(vault, org_id)
        with transaction(platform.factory, org_id) as session:
            session.execute(text(f"UPDATE connections SET secrets = 'x' WHERE id = {lost}"))
        del platform.stored[org_id, lost]
        rotation = DataKeyRotator(platform.factory, vault, org_id)
        rotation.begin(SYSTEM)
        assert not rotation.advance()
        assert len(platform.data_keys()[org_id]) == 2
        platform.assert_all_readable(vault)
        assert "1 rows of connections" in caplog.text


class TestConcurrency:
    def test_readers_and_writers_never_notice(self, platform, vault, monkeypatch):
        monkeypatch.setattr(data_keys, "BATCH_ROWS", 4)
        orgs = [platform.make_org(vault, connections=8) for _ in range(3)]
        fixed = dict(platform.stored)
        crowd = Crowd(platform, vault, fixed, orgs)
        with crowd:
            for _ in range(3):
                together(
                    lambda: rotate_key(platform, vault),
                    *(
                        lambda org_id=org_id: rotate_data_key(platform, vault, org_id)
                        for org_id in orgs
                    ),
                )
        assert crowd.errors == []
        assert crowd.reads > 50
        assert crowd.writes > 20
        KeyMaintenance(platform.factory, vault).run_once()
        assert {len(keys) for keys in platform.data_keys().values()} == {1}
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1
        platform.assert_all_readable(vault)
        platform.assert_all_readable(unlocked_vault(platform))

    def test_nor_do_those_of_another_process(self, platform, agent, socket_path):
        """What the agent said a second ago may be a key that is gone by now."""
        platform.values["key_agent_socket"] = socket_path
        vault, other = platform.vault(), platform.vault()
        MasterPassword(platform.factory, keyring_of(vault), SYSTEM).set(PASSWORD)
        orgs = [platform.make_org(vault, connections=3) for _ in range(3)]
        crowd = Crowd(platform, other, dict(platform.stored), orgs)
        with crowd:
            for _ in range(8):
                rotate_key(platform, vault)
                crowd.orgs.append(platform.make_org(other, connections=1))
        assert crowd.errors == []
        KeyMaintenance(platform.factory, vault).run_once()
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1
        assert len(keyring_of(vault).opened()) == 1
        platform.assert_all_readable(other)
        platform.assert_all_readable(platform.vault())

    def test_a_key_that_goes_between_two_statements(self, platform, vault):
        """A transaction that has read the row, or the key, before the rotation and uses it after."""
        org_id = platform.make_org(vault, connections=1)
        ((_, connection_id), values) = next(iter(platform.stored.items()))
        for rotate, loads_key in (
            (lambda: rotate_data_key(platform, vault, org_id), False),
            (lambda: rotate_key(platform, vault), True),
        ):
            with transaction(platform.factory, org_id) as session:
                row = session.get_one(Connection, connection_id)
                org_secrets = OrgSecrets(session, org_id, vault)
                if loads_key:
                    # Held by this name: the session keeps only what somebody refers to.
                    key = session.get_one(DataKey, row.secrets_key_id)
                    before = key.wrapped_key
                rotate()
                assert org_secrets.read(row) == values
                org_secrets.store(row, values)
            assert not loads_key or key.wrapped_key != before

    def test_two_rotations_at_once(self, platform, vault):
        org_id = platform.make_org(vault, connections=20)
        together(*[lambda: rotate_data_key(platform, vault, org_id)] * 2)
        together(*[lambda: rotate_key(platform, vault)] * 2)
        assert len(platform.data_keys()[org_id]) == 1
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1
        platform.assert_all_readable(vault)


def rotate_key(platform: Platform, vault: Vault) -> None:
    rotation = rotator(platform, vault)
    rotation.begin(SYSTEM, PASSWORD)
    rotation.advance()


def rotate_data_key(platform: Platform, vault: Vault, org_id: int) -> None:
    rotation = DataKeyRotator(platform.factory, vault, org_id)
    rotation.begin(SYSTEM)
    rotation.advance()


def together(*jobs) -> None:
    """Runs jobs at the same time; the first error is raised."""
    errors: list[BaseException] = []

    def run(job) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Crowd:
    """Reads what is there, changes secrets and adds connections, in threads, all the time."""

    def __init__(self, platform: Platform, vault: Vault, fixed: dict, orgs: list[int]) -> None:
        self.platform, self.vault, self.fixed, self.orgs = platform, vault, fixed, orgs
        self.errors: list[BaseException] = []
        self.reads = self.writes = 0
        self._stop = threading.Event()
        jobs = [self._read, self._read, self._change, self._add]
        self._threads = [threading.Thread(target=self._repeat, args=(job,)) for job in jobs]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Also after the last rotation for a moment, with keys that are cached.
        time.sleep(0.2)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, job) -> None:
        while not self._stop.is_set():
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - the test reports it
                self.errors.append(error)

    def _read(self) -> None:
        (org_id, connection_id), values = random.choice([*self.fixed.items()])
        found = self.platform.read(self.vault, org_id, connection_id)
        assert found["password"].startswith("canary-"), found
        assert set(found) == set(values)
        self.reads += 1

    def _change(self) -> None:
        org_id, connection_id = random.choice([*self.fixed])
        values = {"password": f"canary-{random.random()}"}
        with transaction(self.platform.factory, org_id) as session:
            row = session.get_one(Connection, connection_id, with_for_update=True)
            OrgSecrets(session, org_id, self.vault).store(row, values)
            time.sleep(random.random() / 100)
        self.platform.stored[org_id, connection_id] = values
        self.writes += 1

    def _add(self) -> None:
        self.platform.add_connection(self.vault, random.choice(self.orgs))
        self.writes += 1
