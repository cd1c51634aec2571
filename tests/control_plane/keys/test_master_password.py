"""A master password opens the keys, is stored nowhere, and cannot be guessed at leisure."""

import threading
import time
import unicodedata

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url

from control_plane.access.permissions import Role
from control_plane.core.errors import Invalid, Sealed
from control_plane.keys import password_wrapping, service
from control_plane.keys.password_wrapping import WrongPassword
from tests.control_plane.keys.conftest import PASSWORD, Platform, member_token, vault_of

SYSTEM = "/api/v1/system"
OTHER = "another long password"


def state(client: TestClient) -> str:
    return client.get(f"{SYSTEM}/seal").json()["state"]


class TestDerivation:
    def test_opens_with_the_same_password_only(self):
        wrapped = password_wrapping.wrap(PASSWORD, "the key")
        assert password_wrapping.unwrap(PASSWORD, wrapped) == "the key"
        with pytest.raises(WrongPassword):
            password_wrapping.unwrap(OTHER, wrapped)

    def test_salts_differ(self):
        one, two = (password_wrapping.wrap(PASSWORD, "the key") for _ in range(2))
        assert one.salt != two.salt
        assert PASSWORD not in f"{vars(one)}"
        assert "the key" not in f"{one!r}{vars(one)}"

    def test_two_ways_to_type_one_password(self):
        typed = "pässwörd with ümlauts"
        wrapped = password_wrapping.wrap(unicodedata.normalize("NFD", typed), "the key")
        assert password_wrapping.unwrap(unicodedata.normalize("NFC", typed), wrapped) == "the key"

    @pytest.mark.parametrize("password", ["", "eleven char", "ﬃ" * 3, "x" * 1001])
    def test_length_is_counted_after_normalising(self, password):
        with pytest.raises(Invalid) as caught:
            password_wrapping.check_password(password, "/password")
        assert caught.value.errors[0].pointer == "/password"

    def test_a_row_cannot_ask_for_all_memory(self):
        wrapped = password_wrapping.wrap(PASSWORD, "the key")
        wrapped.kdf_parameters["n"] = 2**24
        with pytest.raises(ValueError, match="refused"):
            password_wrapping.unwrap(PASSWORD, wrapped)

    def test_the_real_parameters(self, real_derivation):
        started_at = time.perf_counter()
        wrapped = password_wrapping.wrap(PASSWORD, "the key")
        assert wrapped.kdf_parameters == {"n": 2**17, "r": 8, "p": 1}
        assert time.perf_counter() - started_at > 0.05

    def test_one_at_a_time(self, monkeypatch):
        running, most = [0], [0]
        real = password_wrapping.hashlib.scrypt

        def counted(*arguments, **named):
            running[0] += 1
            most[0] = max(most[0], running[0])
            try:
                time.sleep(0.01)
                return real(*arguments, **named)
            finally:
                running[0] -= 1

        monkeypatch.setattr(password_wrapping.hashlib, "scrypt", counted)
        threads = [
            threading.Thread(target=password_wrapping.wrap, args=(PASSWORD, "k")) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1]


class TestStates:
    def test_uninitialized_then_unsealed_then_sealed(self, operator):
        assert state(operator) == "uninitialized"
        operator.post(f"{SYSTEM}/master-password", json={"password": PASSWORD})
        assert state(operator) == "unsealed"
        assert operator.post(f"{SYSTEM}/seal").json()["state"] == "sealed"
        answer = operator.post(f"{SYSTEM}/unlock", json={"password": PASSWORD})
        assert answer.json()["state"] == "unsealed"

    def test_another_process_is_sealed_until_it_is_unlocked(self, unlocked, serve):
        other = serve()
        assert state(other) == "sealed"
        assert other.get(f"{SYSTEM}/seal").json()["detail"].count("datanika unlock") == 1
        assert other.post(f"{SYSTEM}/unlock", json={"password": PASSWORD}).status_code == 200
        assert state(other) == "unsealed"

    def test_there_is_one_first_password(self, unlocked):
        answer = unlocked.post(f"{SYSTEM}/master-password", json={"password": OTHER})
        assert answer.status_code == 409
        assert unlocked.post(f"{SYSTEM}/unlock", json={"password": OTHER}).status_code == 403

    def test_two_first_passwords_at_once(self, operator, serve, platform):
        clients = [operator, serve(), serve()]
        assert {state(client) for client in clients} == {"uninitialized"}
        answers: list[int] = []

        def set_password(client, password):
            answers.append(
                client.post(f"{SYSTEM}/master-password", json={"password": password}).status_code
            )

        threads = [
            threading.Thread(target=set_password, args=(client, f"{PASSWORD} {number}"))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [201, 409, 409]
        assert platform.scalar("SELECT count(*) FROM key_encryption_keys") == 1

    def test_before_the_first_password_there_is_nothing_to_unlock(self, operator):
        answer = operator.post(f"{SYSTEM}/unlock", json={"password": PASSWORD})
        assert answer.status_code == 409
        assert "set-password" in answer.json()["detail"]

    def test_a_short_password_is_refused_and_not_repeated(self, operator):
        answer = operator.post(f"{SYSTEM}/master-password", json={"password": "hunter2"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/password"
        assert "hunter2" not in answer.text
        assert state(operator) == "uninitialized"

    def test_other_providers_have_no_master_password(self, serve, environment_key):
        client = serve(key_provider="environment", encryption_keys=environment_key)
        assert state(client) == "unsealed"
        for method, path in (("POST", "master-password"), ("POST", "unlock")):
            answer = client.request(method, f"{SYSTEM}/{path}", json={"password": PASSWORD})
            assert answer.status_code == 409, path
        assert client.post(f"{SYSTEM}/seal").status_code == 409


class TestWhoMay:
    def test_an_owner_is_no_operator(self, unlocked, platform):
        org_id = platform.make_org(vault_of(unlocked))
        token = member_token(platform, unlocked.app, org_id, Role.OWNER)
        del unlocked.headers["Authorization"]
        operations = {
            "seal": ("GET", "POST"),
            "unlock": ("POST",),
            "master-password": ("POST", "PUT"),
            "key-encryption-key/rotations": ("GET", "POST"),
        }
        body = {"password": PASSWORD}
        for path, methods in operations.items():
            for method in methods:
                url = f"{SYSTEM}/{path}"
                headers = {"Authorization": f"Bearer {token}"}
                answer = unlocked.request(method, url, headers=headers, json=body)
                assert answer.status_code in (403, 422), (method, path)
                assert unlocked.request(method, url, json=body).status_code == 401, (method, path)


class TestChange:
    def test_the_old_one_ends_and_nothing_else_changes(self, unlocked, platform):
        vault = vault_of(unlocked)
        platform.make_org(vault, connections=2)
        before = platform.data_keys()
        answer = unlocked.put(
            f"{SYSTEM}/master-password",
            json={"current_password": PASSWORD, "new_password": OTHER},
        )
        assert answer.status_code == 204
        assert unlocked.post(f"{SYSTEM}/unlock", json={"password": PASSWORD}).status_code == 403
        assert unlocked.post(f"{SYSTEM}/unlock", json={"password": OTHER}).status_code == 200
        after = platform.data_keys()
        assert [k.wrapped_key for ks in after.values() for k in ks] == [
            k.wrapped_key for ks in before.values() for k in ks
        ]
        platform.assert_all_readable(vault)

    def test_a_wrong_one_changes_nothing(self, unlocked, platform):
        statement = "SELECT wrapped_key FROM key_encryption_keys"
        before = platform.scalar(statement)
        answer = unlocked.put(
            f"{SYSTEM}/master-password",
            json={"current_password": OTHER, "new_password": PASSWORD},
        )
        assert answer.status_code == 403
        assert answer.json()["code"] == "wrong_master_password"
        assert platform.scalar(statement) == before
        assert platform.platform_audit()[-1] == "update_failed master_password"

    def test_works_while_sealed_and_leaves_it_sealed(self, unlocked):
        unlocked.post(f"{SYSTEM}/seal")
        body = {"current_password": PASSWORD, "new_password": OTHER}
        assert unlocked.put(f"{SYSTEM}/master-password", json=body).status_code == 204
        assert state(unlocked) == "sealed"

    def test_the_new_one_has_to_be_long_enough(self, unlocked):
        body = {"current_password": PASSWORD, "new_password": "short"}
        answer = unlocked.put(f"{SYSTEM}/master-password", json=body)
        assert answer.json()["errors"][0]["pointer"] == "/new_password"


class TestGuessing:
    @pytest.mark.parametrize(
        ("method", "path", "body", "recorded"),
        [
            ("POST", "unlock", {"password": OTHER}, "unlock_failed master_password"),
            (
                "PUT",
                "master-password",
                {"current_password": OTHER, "new_password": f"{OTHER}!"},
                "update_failed master_password",
            ),
            (
                "POST",
                "key-encryption-key/rotations",
                {"password": OTHER},
                "rotate_failed key_encryption_key",
            ),
        ],
    )
    def test_the_record_names_what_was_tried(
        self, unlocked, platform, method, path, body, recorded
    ):
        answer = unlocked.request(method, f"{SYSTEM}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_master_password")
        assert [one for one in platform.platform_audit() if "_failed" in one] == [recorded]

    def test_wrong_passwords_are_refused_recorded_and_throttled(self, unlocked, platform):
        answers = [
            unlocked.post(f"{SYSTEM}/unlock", json={"password": f"{OTHER} {number}"})
            for number in range(11)
        ]
        assert [answer.status_code for answer in answers] == [403] * 10 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert platform.platform_audit().count("unlock_failed master_password") == 10
        # Also the right one waits now, and so does every other door to the same password.
        right = {"password": PASSWORD}
        assert unlocked.post(f"{SYSTEM}/unlock", json=right).status_code == 429
        rotations = f"{SYSTEM}/key-encryption-key/rotations"
        assert unlocked.post(rotations, json=right).status_code == 429
        body = {"current_password": PASSWORD, "new_password": OTHER}
        assert unlocked.put(f"{SYSTEM}/master-password", json=body).status_code == 429

    def test_right_passwords_do_not_count(self, unlocked):
        for _ in range(12):
            answer = unlocked.post(f"{SYSTEM}/unlock", json={"password": PASSWORD})
            assert answer.status_code == 200

    def test_everything_is_on_record(self, unlocked, platform):
        unlocked.post(f"{SYSTEM}/seal")
        unlocked.post(f"{SYSTEM}/unlock", json={"password": OTHER})
        unlocked.post(f"{SYSTEM}/unlock", json={"password": PASSWORD})
        body = {"current_password": PASSWORD, "new_password": OTHER}
        unlocked.put(f"{SYSTEM}/master-password", json=body)
        recorded = [entry for entry in platform.platform_audit() if "master_password" in entry]
        assert [entry.split()[0] for entry in recorded] == [
            "create",
            "seal",
            "unlock_failed",
            "unlock",
            "update",
        ]


def test_a_stolen_database_holds_neither_password_nor_key(
    unlocked, platform: Platform, postgres_cluster
):
    vault = vault_of(unlocked)
    platform.make_org(vault, connections=1)
    opened = [key.key for key in service.keyring_of(vault).opened()]
    thief = create_engine(postgres_cluster.url(make_url(platform.url).database))
    with thief.connect() as connection:
        names = connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        found = "".join(
            str(connection.exec_driver_sql(f"SELECT * FROM {name}").all())
            for name in [*names.scalars()]
        )
    thief.dispose()
    (values,) = platform.stored.values()
    assert "db.example.com" in found
    for secret in (PASSWORD, *opened, *values.values()):
        assert secret not in found


def test_sealed_says_what_to_do(platform):
    with pytest.raises(Sealed, match="datanika unlock"):
        platform.vault().require_keys()
