"""What somebody hears who asks for what is not their org's: that there is none."""

from graphql import GraphQLError


class OrgBoundary(GraphQLError):
    """Something was asked for that is another org's, nobody's, or not for this role.

    The text is always the same: it must not tell whether something exists.

    Attributes:
        operation: What was asked, for the server's own log.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(
            "There is no such thing in this organization, or your role does not allow this.",
            extensions={"code": "not_found"},
        )
        self.operation = operation


class NotEnded(GraphQLError):
    """A run was to be deleted that goes on: its process would go on, counted by nobody."""

    def __init__(self) -> None:
        super().__init__(
            "The run has not ended; terminate it first.", extensions={"code": "invalid_state"}
        )


class ConfigRefused(GraphQLError):
    """A run or a backfill was to be given configuration."""

    def __init__(self) -> None:
        super().__init__("Runs take no configuration.", extensions={"code": "invalid"})
