"""PostgreSQL that a user named: the network policy decides whether it may be reached."""

from collections.abc import Mapping
from typing import Any

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.network import NetworkPolicy
from datanika_manifest.connectors.postgres import PostgresConfig


class PostgresEngine:
    """The engine of connector `postgres`."""

    kind = "postgres"

    def endpoint(self, config: Mapping[str, Any], policy: NetworkPolicy) -> Endpoint:
        """Resolves the host, checks every address and keeps the one that answers."""
        settings = PostgresConfig.model_validate(dict(config))
        return Endpoint(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            password=settings.password.get_secret_value(),
            sslmode=settings.sslmode,
            addresses=policy.resolve(settings.host, settings.port),
        ).pinned()


ENGINE = PostgresEngine()
