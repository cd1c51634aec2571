"""Keys rotate, ciphertexts stay with their row, and the wrong key says so."""

import pytest
from cryptography.fernet import Fernet

from control_plane.core.errors import Sealed
from control_plane.core.vault import Binding, StaticKeys, Vault

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
ROW = Binding(org_id=1, table="connections", row_id=5)
SECRETS = {"password": "canary ü"}


@pytest.fixture
def sealed():
    """A wrapped data key and a ciphertext, both made when `OLD` was the only key."""
    vault = Vault(StaticKeys([OLD]))
    key = vault.new_data_key().text
    return key, vault.encrypt(key, ROW, SECRETS)


def test_what_was_encrypted_is_decrypted(sealed):
    assert Vault(StaticKeys([OLD])).decrypt(sealed[0], ROW, sealed[1]) == SECRETS
    assert "canary" not in sealed[1]


class TestRotation:
    def test_every_key_decrypts(self, sealed):
        assert Vault(StaticKeys([NEW, OLD])).decrypt(sealed[0], ROW, sealed[1]) == SECRETS

    def test_the_first_key_encrypts(self):
        key = Vault(StaticKeys([NEW, OLD])).new_data_key().text
        assert Vault(StaticKeys([NEW])).encrypt(key, ROW, SECRETS)
        with pytest.raises(Sealed):
            Vault(StaticKeys([OLD])).encrypt(key, ROW, SECRETS)

    def test_without_the_old_key_it_stays_shut(self, sealed):
        with pytest.raises(Sealed, match="encryption keys") as caught:
            Vault(StaticKeys([NEW])).decrypt(sealed[0], ROW, sealed[1])
        assert NEW not in str(caught.value)


class TestBinding:
    @pytest.mark.parametrize(
        "other",
        [
            Binding(org_id=2, table="connections", row_id=5),
            Binding(org_id=1, table="api_keys", row_id=5),
            Binding(org_id=1, table="connections", row_id=6),
        ],
    )
    def test_another_rows_ciphertext(self, sealed, other):
        with pytest.raises(Sealed, match=f"{other.table} {other.row_id}"):
            Vault(StaticKeys([OLD])).decrypt(sealed[0], other, sealed[1])

    def test_another_orgs_data_key(self, sealed):
        vault = Vault(StaticKeys([OLD]))
        with pytest.raises(Sealed):
            vault.decrypt(vault.new_data_key().text, ROW, sealed[1])

    def test_a_changed_ciphertext(self, sealed):
        middle = len(sealed[1]) // 2
        other = "A" if sealed[1][middle] != "A" else "B"
        with pytest.raises(Sealed):
            Vault(StaticKeys([OLD])).decrypt(
                sealed[0], ROW, sealed[1][:middle] + other + sealed[1][middle + 1 :]
            )


def test_each_org_has_a_data_key_of_its_own():
    vault = Vault(StaticKeys([OLD]))
    first, second = vault.new_data_key().text, vault.new_data_key().text
    with pytest.raises(Sealed):
        vault.decrypt(second, ROW, vault.encrypt(first, ROW, SECRETS))


def test_a_vault_does_not_show_its_keys():
    assert OLD not in repr(Vault(StaticKeys([OLD])))
