"""The org's managed warehouse: a PostgreSQL database that the platform provisions.

Users cannot make one and its host is not theirs to choose, so it has no network fields; the
control plane stores what the provisioner returned.
"""

from typing import Literal

from pydantic import Field, SecretStr

from datanika_manifest.connectors.base import ConnectorConfig, ConnectorDeclaration, Direction


class ManagedWarehouseConfig(ConnectorConfig):
    """Where the provisioner put the org's database, and its two roles."""

    host: str = Field(description="Host of the platform's PostgreSQL.")
    port: int = Field(ge=1, le=65535, description="TCP port.")
    database: str = Field(description="The org's own database.")
    user: str = Field(description="The org's role, owner of what it loads.")
    password: SecretStr = Field(description="Password of the role.")
    readonly_user: str = Field(description="The SELECT-only twin, for previews and sensors.")
    readonly_password: SecretStr = Field(description="Password of the SELECT-only twin.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="TLS, as the provisioner itself uses it."
    )
    ssl_root_certificate: str | None = Field(
        default=None, description="The authority that signed the server's certificate, in PEM."
    )


DECLARATION = ConnectorDeclaration(
    kind="managed_warehouse",
    title="Managed warehouse (PostgreSQL)",
    config=ManagedWarehouseConfig,
    directions=frozenset({Direction.BOTH}),
    is_managed=True,
)
