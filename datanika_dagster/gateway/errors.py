"""What the gateway refuses, in words that name nothing but what the caller sent."""

from graphql import GraphQLError


class GatewayMisconfigured(Exception):
    """A table of the gateway and Dagster differ: the gateway does not start."""


class FieldRefused(GraphQLError):
    """Somebody may not have what they asked for; shown as it stands."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, extensions={"code": code})


def not_permitted(field: str) -> FieldRefused:
    """Returns the refusal of a field that a role does not have, or nobody."""
    return FieldRefused(f"Your role does not allow {field}.", "permission.denied")


def not_found(kind: str) -> FieldRefused:
    """Returns the refusal of a target that is not the org's: the same as of one that does not exist."""
    return FieldRefused(f"This organization has no such {kind}.", "not_found")
