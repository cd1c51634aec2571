"""The generated secrets and the file that holds them."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from datanika_stack.errors import StackError
from datanika_stack.layout import Home
from datanika_stack.secrets import load, load_or_generate


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def test_generates_once_and_keeps(home: Home) -> None:
    first = load_or_generate(home)
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600
    assert load_or_generate(home) == first
    assert len(set(vars(first).values())) == len(vars(first))
    assert len(first.secret_key) >= 32
    Fernet(first.encryption_keys)


def test_shows_no_value(home: Home) -> None:
    found = load_or_generate(home)
    assert not [value for value in vars(found).values() if value in repr(found)]


def test_refuses_to_replace_secrets_of_existing_databases(home: Home) -> None:
    load_or_generate(home)
    home.secrets_file.unlink()
    home.postgres_dir.mkdir()
    (home.postgres_dir / "PG_VERSION").write_text("18\n")
    with pytest.raises(StackError, match="put the file back"):
        load_or_generate(home)
    assert not home.secrets_file.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_refuses_a_file_that_others_can_read(home: Home, mode: int) -> None:
    load_or_generate(home)
    home.secrets_file.chmod(mode)
    with pytest.raises(StackError, match="chmod 600"):
        load(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away, which only root may")
def test_refuses_a_file_of_somebody_else(home: Home) -> None:
    load_or_generate(home)
    os.chown(home.secrets_file, 65534, 65534)
    with pytest.raises(StackError, match="belong to you"):
        load(home)


def test_names_what_is_missing(home: Home) -> None:
    load_or_generate(home)
    lines = home.secrets_file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("DATANIKA_ENCRYPTION_KEYS")]
    home.secrets_file.write_text("\n".join(kept))
    with pytest.raises(StackError, match="lacks DATANIKA_ENCRYPTION_KEYS"):
        load_or_generate(home)


def test_adds_a_password_that_an_older_version_did_not_have(home: Home) -> None:
    first = load_or_generate(home)
    name = "DATANIKA_DAGSTER_LOGIN_KEY"
    lines = home.secrets_file.read_text().splitlines()
    home.secrets_file.write_text("\n".join(line for line in lines if not line.startswith(name)))
    second = load_or_generate(home)
    assert second.dagster_login_key
    assert second.encryption_keys == first.encryption_keys
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600
