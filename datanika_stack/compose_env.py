"""Writes the `.env` of docker-compose.yml: a fresh set of every secret it asks for.

Each process gets a service token of its own role, so that only the control plane holds the key that
signs them.
"""

import re
from typing import Final

from datanika_stack.errors import StackError
from datanika_stack.secrets import SET_AT_EACH_START, generate, variable_of
from datanika_stack.service_tokens import ServiceRole, mint

_TOKENS: Final = {
    "DATANIKA_CONTROL_PLANE_TOKEN": ServiceRole.CONTROL_PLANE,
    "DATANIKA_GATEWAY_TOKEN": ServiceRole.GATEWAY,
    "DATANIKA_LAUNCHER_TOKEN": ServiceRole.LAUNCHER,
    "DATANIKA_SUPERVISOR_TOKEN": ServiceRole.SUPERVISOR,
}


def compose_env() -> str:
    """Returns the text of a `.env` file; each call makes new secrets."""
    secrets = generate()
    variables = {
        "DATANIKA_POSTGRES_PASSWORD": secrets.postgres_password,
        "DATANIKA_OWNER_PASSWORD": secrets.owner_password,
        "DATANIKA_APP_PASSWORD": secrets.app_password,
        "DATANIKA_DAGSTER_PASSWORD": secrets.dagster_password,
        "DATANIKA_DAGSTER_LOGIN_KEY": secrets.dagster_login_key,
        "DATANIKA_PROVISIONER_PASSWORD": secrets.provisioner_password,
        "DATANIKA_OPERATOR_PASSWORD": secrets.operator_password,
        "DATANIKA_WAREHOUSE_NAME_KEY": secrets.warehouse_name_key,
        "DATANIKA_ENCRYPTION_KEYS": secrets.encryption_keys,
        "DATANIKA_SECRET_KEY": secrets.secret_key,
    }
    variables |= _tokens(secrets.secret_key)
    lines = [f"{name}={value}" for name, value in variables.items()]
    return "\n".join(["# Keep this file secret (chmod 600) and with the data.", *lines, ""])


def renewed(text: str) -> str:
    """Returns the text of a `.env` file with fresh service tokens, and all that this version needs.

    Everything else is as it was. What is missing is made only where the next start sets it on the other
    side, too; a key that opens data cannot be made anew.

    Args:
        text: The file as it is; its `DATANIKA_SECRET_KEY` signs the tokens.

    Raises:
        StackError: It has no such key.
    """
    key = re.search(r"^DATANIKA_SECRET_KEY=[\"']?([^\"'\s]+)", text, re.MULTILINE)
    if key is None:
        raise StackError("the file has no DATANIKA_SECRET_KEY, which signs the service tokens")
    fresh = _tokens(key[1]) | _missing(text)
    kept = [line for line in text.splitlines() if line.split("=")[0].strip() not in fresh]
    return "\n".join([*kept, *(f"{name}={value}" for name, value in fresh.items()), ""])


def _missing(text: str) -> dict[str, str]:
    """Returns what the file has no value for and can be given one at any time."""
    made = vars(generate())
    wanted = {variable_of(name): made[name] for name in SET_AT_EACH_START}
    present = set(re.findall(r"^(\w+)\s*=[^\S\n]*\S", text, re.MULTILINE))
    return {name: value for name, value in wanted.items() if name not in present}


def _tokens(secret_key: str) -> dict[str, str]:
    return {name: mint(secret_key, role) for name, role in _TOKENS.items()}
