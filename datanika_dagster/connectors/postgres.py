"""PostgreSQL that a user named: the network policy decides whether it may be reached."""

from collections.abc import Mapping
from typing import Any

from datanika_dagster.connectors.certificate_files import Certificates
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.network import NetworkPolicy
from datanika_manifest.connectors.postgres import PostgresConfig


class PostgresEngine:
    """The engine of connector `postgres`."""

    kind = "postgres"

    def endpoint(self, config: Mapping[str, Any], policy: NetworkPolicy) -> Endpoint:
        """Resolves the host, checks every address and keeps the one that answers."""
        settings = PostgresConfig.model_validate(dict(config))
        key = settings.ssl_client_key
        return Endpoint(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            password=settings.password.get_secret_value(),
            sslmode=settings.sslmode,
            certificates=Certificates(
                root=settings.ssl_root_certificate,
                client=settings.ssl_client_certificate,
                client_key=key.get_secret_value() if key else None,
            ),
            addresses=policy.resolve(settings.host, settings.port),
        ).pinned()


ENGINE = PostgresEngine()
