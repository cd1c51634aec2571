"""Writes the `.env` of docker-compose.yml: a fresh set of every secret it asks for.

Each process gets a service token of its own role, so that only the control plane holds the key that
signs them.
"""

from typing import Final

from datanika_stack.secrets import generate
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
        "DATANIKA_DAGSTER_READER_PASSWORD": secrets.dagster_reader_password,
        "DATANIKA_PROVISIONER_PASSWORD": secrets.provisioner_password,
        "DATANIKA_OPERATOR_PASSWORD": secrets.operator_password,
        "DATANIKA_WAREHOUSE_NAME_KEY": secrets.warehouse_name_key,
        "DATANIKA_ENCRYPTION_KEYS": secrets.encryption_keys,
        "DATANIKA_SECRET_KEY": secrets.secret_key,
    }
    variables |= {name: mint(secrets.secret_key, role) for name, role in _TOKENS.items()}
    lines = [f"{name}={value}" for name, value in variables.items()]
    return "\n".join(["# Keep this file secret (chmod 600) and with the data.", *lines, ""])
