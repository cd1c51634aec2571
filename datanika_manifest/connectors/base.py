"""What a connector declares of itself."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Direction(StrEnum):
    """What a connection is used for."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"


class ConnectorConfig(BaseModel):
    """Base of a connector's settings: unknown keys are refused, input is not echoed in errors.

    A secret field is declared as `SecretStr`; everything else is shown to whoever may read the
    connection.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class ConnectorDeclaration:
    """One kind of connection.

    Attributes:
        kind: The persisted tag; append-only, never reused.
        title: The name that people know.
        config: The settings and their help texts.
        directions: What connections of this kind can be used for.
        secrets_follow: The settings that say to whom the secrets are sent. Whoever changes one of
            them gives the secrets again: else an editor could send a stored password to a server
            of their own.
        is_managed: True where the platform makes the connection and users cannot.
    """

    kind: str
    title: str
    config: type[ConnectorConfig]
    directions: frozenset[Direction]
    secrets_follow: frozenset[str] = frozenset()
    is_managed: bool = False

    def secret_fields(self) -> frozenset[str]:
        """Returns the names of the settings that are encrypted and never shown."""
        return frozenset(
            name
            for name, field in self.config.model_fields.items()
            if "SecretStr" in str(field.annotation)
        )
