"""PostgreSQL, given by the user: a source or a destination."""

from typing import Literal

from pydantic import Field, SecretStr

from datanika_manifest.connectors.base import ConnectorConfig, ConnectorDeclaration, Direction


class PostgresConfig(ConnectorConfig):
    """Settings of a PostgreSQL connection."""

    host: str = Field(min_length=1, max_length=253, description="Host name or address.")
    port: int = Field(default=5432, ge=1, le=65535, description="TCP port.")
    database: str = Field(min_length=1, max_length=63, description="Database name.")
    user: str = Field(min_length=1, max_length=63, description="Role to log in as.")
    password: SecretStr = Field(description="Password of the role.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="TLS mode, as libpq names it."
    )


DECLARATION = ConnectorDeclaration(
    kind="postgres",
    title="PostgreSQL",
    config=PostgresConfig,
    directions=frozenset({Direction.SOURCE, Direction.DESTINATION, Direction.BOTH}),
    secrets_follow=frozenset({"host", "port", "user", "sslmode"}),
)
