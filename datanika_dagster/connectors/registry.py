"""Every engine. A new connector is one file and one line here, and a declaration in the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datanika_dagster.connectors import managed_warehouse, postgres
from datanika_dagster.connectors.base import Engine
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.network import NetworkPolicy
from datanika_dagster.launcher.job import JobError

ENGINES: dict[str, Engine] = {
    "managed_warehouse": managed_warehouse.ENGINE,
    "postgres": postgres.ENGINE,
}


def of_payload(secret: Mapping[str, Any], payload: Mapping[str, Any]) -> Endpoint:
    """Returns where one of a job's connections leads.

    Args:
        secret: `{"connector": …, "config": {…}}` as the task token was redeemed for it.
        payload: The job's: `allowed_networks` and `refused_endpoints`, both optional.

    Raises:
        JobError: Unknown connector, or the host cannot or may not be reached.
    """
    return endpoint(
        secret, payload.get("allowed_networks") or (), payload.get("refused_endpoints") or ()
    )


def endpoint(
    secret: Mapping[str, Any],
    allowed_networks: Iterable[str],
    refused_endpoints: Iterable[Sequence[Any]] = (),
) -> Endpoint:
    """Returns where one of a job's connections leads.

    Args:
        secret: `{"connector": …, "config": {…}}` as the task token was redeemed for it.
        allowed_networks: CIDRs that the operator opened beside the policy.
        refused_endpoints: Host and port of the platform's own services.

    Raises:
        JobError: Unknown connector, or the host cannot or may not be reached.
    """
    kind = secret["connector"]
    if kind not in ENGINES:
        known = ", ".join(sorted(ENGINES))
        raise JobError("connection.unknown", f"Unknown connector '{kind}'; known: {known}.")
    return ENGINES[kind].endpoint(
        secret["config"], NetworkPolicy.of(allowed_networks, refused_endpoints)
    )
