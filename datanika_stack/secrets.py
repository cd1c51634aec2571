"""The secrets a stack generates for itself, in `$DATANIKA_HOME/secrets.env` and nowhere else on disk.

Written once. It must not know what the secrets open.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from datanika_stack.errors import StackError
from datanika_stack.layout import Home
from datanika_stack.private_files import ensure_private, write_private

# Passwords of roles, and the key of orgs' passwords, that each start sets to what is written here:
# losing one loses nothing.
SET_AT_EACH_START: Final = (
    "owner_password",
    "app_password",
    "dagster_password",
    "dagster_login_key",
    "provisioner_password",
)
_HEADER: Final = """\
# Secrets of this stack, generated on its first start. Keep them with the data: without the
# encryption keys its connections cannot be read, without the passwords its databases not opened.
"""


@dataclass(frozen=True, repr=False)
class Secrets:
    """What `secrets.env` holds, one variable per field."""

    postgres_password: str
    owner_password: str
    app_password: str
    dagster_password: str
    dagster_login_key: str
    provisioner_password: str
    source_password: str
    operator_password: str
    secret_key: str
    warehouse_name_key: str
    encryption_keys: str


def load_or_generate(home: Home) -> Secrets:
    """Returns the home's secrets, generated on first use.

    Raises:
        StackError: The file can be read by others, lacks a value, or is gone while data exist.
    """
    if home.secrets_file.exists():
        _complete(home)
        return load(home)
    if (home.postgres_dir / "PG_VERSION").exists():
        raise StackError(
            f"{home.secrets_file} is missing but {home.postgres_dir} holds databases that only its "
            "passwords open: put the file back, or remove the whole home to start afresh"
        )
    generated = generate()
    write_private(home.secrets_file, _HEADER + _lines(vars(generated)))
    return generated


def load(home: Home) -> Secrets:
    """Returns the secrets of a home that has been started before.

    Raises:
        StackError: There are none, others can read them, or a value is missing.
    """
    if not home.secrets_file.exists():
        raise StackError(f"there is no stack in {home.path}: `datanika up` makes one")
    ensure_private(home.secrets_file)
    values = _parse(home.secrets_file.read_text())
    names = [field.name for field in fields(Secrets)]
    missing = [variable_of(name) for name in names if not values.get(variable_of(name))]
    if missing:
        raise StackError(f"{home.secrets_file} lacks {', '.join(missing)}")
    return Secrets(**{name: values[variable_of(name)] for name in names})


def _complete(home: Home) -> None:
    """Adds passwords that a newer version needs and an older one did not generate."""
    ensure_private(home.secrets_file)
    text = home.secrets_file.read_text()
    values = _parse(text)
    fresh = vars(generate())
    missing = {name: fresh[name] for name in SET_AT_EACH_START if variable_of(name) not in values}
    if missing:
        write_private(home.secrets_file, text.rstrip("\n") + "\n" + _lines(missing))


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{variable_of(name)}={value}\n" for name, value in values.items())


def variable_of(field_name: str) -> str:
    """Returns the variable that holds a field of `Secrets`."""
    return f"DATANIKA_{field_name.upper()}"


def _parse(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in pairs}


def generate() -> Secrets:
    """Returns a fresh set of secrets."""
    words = {field.name: secrets.token_urlsafe(32) for field in fields(Secrets)}
    # A Fernet key is 32 random bytes in URL-safe base64, with padding.
    words["encryption_keys"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    words["operator_password"] = secrets.token_urlsafe(18)
    return Secrets(**words)
