"""Settings: keys that are no keys are refused at start, by name and never by value."""

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from control_plane.key_strength import fernet_key_problem, secret_key_problem
from control_plane.settings import Settings
from tests.factories.keys import fixed_key

ROOT = Path(__file__).parents[2]
WEAK_SECRETS = [
    "",
    "short",
    "x" * 31,
    "x" * 64,
    "ab" * 32,
    "abcdefghijk" * 5,
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyz012345",
    "changeme-changeme-changeme-1234567",
    "CHANGE_ME_9f8a7s6d5f4g3h2j1k0l9q8w7e",
    "my-secret-key-for-development-2024",
    "datanika-9f8a7s6d5f4g3h2j1k0l9q8w7e",
]
WEAK_BYTES = [bytes(32), b"\xff" * 32, bytes(range(32)), b"0123456789abcdef" * 2, b"short"]
WEAK_BYTES.append(b"correct horse battery staple! 42")


def weak_fernet_keys() -> list[str]:
    encoded = [base64.urlsafe_b64encode(content).decode() for content in WEAK_BYTES]
    return [
        *encoded,
        "changeme" * 5 + "abc=",
        "not base64!",
        f"{fixed_key('one')}!",
        ",",
        " ",
    ]


@pytest.mark.parametrize("key", WEAK_SECRETS)
def test_a_weak_secret_key_is_refused_by_name(make_settings, key: str):
    with pytest.raises(ValidationError) as refusal:
        make_settings(secret_key=key)
    assert "DATANIKA_SECRET_KEY must" in str(refusal.value)
    assert not key or key not in str(refusal.value)


@pytest.mark.parametrize("key", weak_fernet_keys())
@pytest.mark.parametrize("before", ["", f"{fixed_key('two')},"])
def test_a_weak_encryption_key_is_refused_by_name(make_settings, key: str, before: str):
    if before and not key.strip(", "):
        return  # an empty part between commas is none
    with pytest.raises(ValidationError) as refusal:
        make_settings(encryption_keys=before + key)
    assert "DATANIKA_ENCRYPTION_KEYS" in str(refusal.value)
    assert not key.strip(", ") or key not in str(refusal.value)


def test_random_keys_are_accepted():
    for _ in range(100):
        key = Fernet.generate_key().decode()
        assert fernet_key_problem(key) is None
        assert secret_key_problem(key) is None


def test_what_the_example_has_is_refused():
    """Whoever copies .env.example and starts is told so."""
    text = (ROOT / ".env.example").read_text()
    for name, problem in (
        ("DATANIKA_SECRET_KEY", secret_key_problem),
        ("DATANIKA_ENCRYPTION_KEYS", fernet_key_problem),
    ):
        values = re.findall(rf"^#?{name}=(.*)$", text, re.MULTILINE)
        assert values
        assert all(problem(value) for value in values)


def test_a_start_that_fails_shows_no_secret(databases):
    """Also not those of the settings that are right."""
    environment = {
        "DATANIKA_DATABASE_URL": "postgresql+psycopg://u:canary_database@h/d",
        "DATANIKA_SECRET_KEY": "canary_short",
        "DATANIKA_ENCRYPTION_KEYS": "canary_fernet",
        "DATANIKA_SMTP_URL": "smtp://u:canary_mail@h",
        "DATANIKA_TRUSTED_PROXIES": "no network",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from control_plane.main import create_app; create_app()"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "DATANIKA_SECRET_KEY must have at least 32 bytes" in done.stderr
    assert "DATANIKA_ENCRYPTION_KEYS" in done.stderr
    assert "canary" not in done.stderr + done.stdout


def test_what_depends_on_another_setting_shows_no_secret(make_settings):
    with pytest.raises(ValidationError) as refusal:
        Settings.model_validate(
            {"database_url": "postgresql://canary", "secret_key": Fernet.generate_key().decode()}
        )
    assert "DATANIKA_ENCRYPTION_KEYS must be set" in str(refusal.value)
    assert "canary" not in str(refusal.value)
