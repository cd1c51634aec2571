"""A ciphertext opens in its own row and with its own key only; destroyed keys are gone for good."""

import secrets

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.connections.models import Connection
from control_plane.core.database import enter_org
from control_plane.core.errors import Sealed
from control_plane.core.vault import Vault
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.models import DataKey
from control_plane.tenancy.secrets import OrgSecrets
from tests.factories.access import Member, make_member

SECRETS = {"password": "canary"}


def make_connection(session: Session, vault: Vault, member: Member) -> Connection:
    """A connection with `SECRETS`; the session ends up inside its org."""
    enter_org(session, member.org.id)
    name = f"c{secrets.token_hex(6)}"
    row = Connection(
        org_id=member.org.id,
        slug=name,
        name=name,
        connector="postgres",
        direction="source",
        config={},
    )
    session.add(row)
    session.flush()
    OrgSecrets(session, member.org.id, vault).store(row, SECRETS)
    return row


def read(session: Session, vault: Vault, row: Connection) -> dict[str, str]:
    """Reads a row's secrets as a later request does."""
    session.flush()
    enter_org(session, row.org_id)
    session.refresh(row)
    return OrgSecrets(session, row.org_id, vault).read(row)


def put(session: Session, row: Connection, ciphertext: str | None, key_id: int | None) -> None:
    """Writes a ciphertext as somebody with the database's password could."""
    enter_org(session, row.org_id)
    session.execute(
        text("UPDATE connections SET secrets = :secrets, secrets_key_id = :key WHERE id = :id"),
        {"secrets": ciphertext, "key": key_id, "id": row.id},
    )


@pytest.fixture
def row(session: Session, vault: Vault, member: Member) -> Connection:
    return make_connection(session, vault, member)


class TestBinding:
    def test_a_copy_in_another_row_of_the_org(self, session, vault, member, row):
        other = make_connection(session, vault, member)
        put(session, other, row.secrets, row.secrets_key_id)
        with pytest.raises(Sealed, match=f"connections {other.id}"):
            read(session, vault, other)
        assert read(session, vault, row) == SECRETS

    def test_a_copy_in_another_org(self, session, vault, row):
        foreign = make_connection(session, vault, make_member(session, vault))
        put(session, foreign, row.secrets, foreign.secrets_key_id)
        with pytest.raises(Sealed):
            read(session, vault, foreign)

    def test_with_the_data_key_copied_too(self, session, vault, row):
        """Somebody with the database's password makes another org's secrets readable: not so."""
        enter_org(session, row.org_id)
        wrapped = session.get_one(DataKey, row.secrets_key_id).wrapped_key
        thief = make_member(session, vault)
        foreign = make_connection(session, vault, thief)
        session.execute(text("UPDATE data_keys SET wrapped_key = :key"), {"key": wrapped})
        put(session, foreign, row.secrets, foreign.secrets_key_id)
        session.expire_all()
        with pytest.raises(Sealed, match=f"connections {foreign.id}"):
            read(session, vault, foreign)

    def test_another_orgs_key_cannot_be_named(self, session, vault, row):
        foreign = make_connection(session, vault, make_member(session, vault))
        with pytest.raises(IntegrityError), session.begin_nested():
            put(session, foreign, row.secrets, row.secrets_key_id)

    def test_a_moved_key_id(self, session, vault, row):
        newer = OrgSecrets(session, row.org_id, vault).add_data_key()
        put(session, row, row.secrets, newer.id)
        with pytest.raises(Sealed):
            read(session, vault, row)

    def test_a_ciphertext_always_names_its_key(self, session, row):
        with pytest.raises(IntegrityError), session.begin_nested():
            put(session, row, row.secrets, None)


class TestKeys:
    def test_the_newest_encrypts_and_the_others_decrypt(self, session, vault, member, row):
        newer = OrgSecrets(session, row.org_id, vault).add_data_key()
        assert read(session, vault, row) == SECRETS
        assert make_connection(session, vault, member).secrets_key_id == newer.id
        OrgSecrets(session, row.org_id, vault).store(row, SECRETS)
        assert row.secrets_key_id == newer.id

    def test_one_in_use_cannot_be_deleted(self, session, row):
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(text("DELETE FROM data_keys"))

    def test_no_values_clear_the_secrets(self, session, vault, row):
        OrgSecrets(session, row.org_id, vault).store(row, {})
        assert (row.secrets, row.secrets_key_id) == (None, None)
        assert read(session, vault, row) == {}


class TestDestroyed:
    @pytest.fixture
    def destroyed(self, session: Session, vault: Vault, row: Connection) -> OrgSecrets:
        org_secrets = OrgSecrets(session, row.org_id, vault)
        org_secrets.destroy()
        return org_secrets

    def test_nothing_is_left(self, session, destroyed):
        rows = session.execute(text("SELECT secrets, secrets_key_id FROM connections")).all()
        assert rows == [(None, None)]
        assert session.execute(text("SELECT count(*) FROM data_keys")).scalar() == 0

    def test_reading_and_storing_say_so(self, destroyed, row):
        with pytest.raises(KeysDestroyed, match="destroyed"):
            destroyed.read(row)
        with pytest.raises(KeysDestroyed, match="destroyed"):
            destroyed.store(row, SECRETS)

    def test_a_restored_org_starts_with_a_new_key(self, session, vault, destroyed, row):
        destroyed.add_data_key()
        assert read(session, vault, row) == {}
        destroyed.store(row, SECRETS)
        assert read(session, vault, row) == SECRETS

    def test_other_orgs_keep_theirs(self, session, vault, row):
        foreign = make_connection(session, vault, make_member(session, vault))
        enter_org(session, row.org_id)
        OrgSecrets(session, row.org_id, vault).destroy()
        assert read(session, vault, foreign) == SECRETS
