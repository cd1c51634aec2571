"""What the engine of a connector offers."""

from collections.abc import Mapping
from typing import Any, Protocol

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.network import NetworkPolicy


class Engine(Protocol):
    """One kind of connection, as the execution plane sees it."""

    kind: str

    def endpoint(self, config: Mapping[str, Any], policy: NetworkPolicy) -> Endpoint:
        """Turns a connection's settings into something that can be connected to.

        Args:
            config: The settings with their secrets, as the control plane stores them.
            policy: What tenants may connect to.

        Raises:
            JobError: The host cannot be resolved, may not be connected to, or does not answer.
        """
        ...
