"""One org's view of the one Dagster instance that all share: the innermost of the gateway's walls.

Every public name of Dagster's storages has a policy, and whoever comes past the walls before this one
(`guard.py`, the classification of GraphQL's fields, the org's own workspace) still finds nothing but
the org. It knows Dagster's storages and who asks, and neither HTTP nor GraphQL's schema.
"""

from datanika_dagster.gateway.scoped.boundary import ConfigRefused, NotEnded, OrgBoundary
from datanika_dagster.gateway.scoped.instance import (
    InstanceNotScopable,
    OrgInstance,
    scoped_instance,
)

__all__ = [
    "ConfigRefused",
    "InstanceNotScopable",
    "NotEnded",
    "OrgBoundary",
    "OrgInstance",
    "scoped_instance",
]
