"""The org's managed warehouse: its host is the platform's, so no network policy applies."""

from collections.abc import Mapping
from typing import Any

from datanika_dagster.connectors.certificate_files import Certificates
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.network import NetworkPolicy
from datanika_manifest.connectors.managed_warehouse import ManagedWarehouseConfig


class ManagedWarehouseEngine:
    """The engine of connector `managed_warehouse`."""

    kind = "managed_warehouse"

    def endpoint(self, config: Mapping[str, Any], policy: NetworkPolicy) -> Endpoint:
        """Takes the settings as the provisioner made them."""
        settings = ManagedWarehouseConfig.model_validate(dict(config))
        return Endpoint(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            password=settings.password.get_secret_value(),
            sslmode=settings.sslmode,
            certificates=Certificates(root=settings.ssl_root_certificate),
            reader=(settings.readonly_user, settings.readonly_password.get_secret_value()),
        )


ENGINE = ManagedWarehouseEngine()
