"""What a connector declares of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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
        optional_secrets: Secrets that may be missing, each with the setting that is there exactly
            when the secret is: so nobody has to decrypt to know which are stored.
        is_managed: True where the platform makes the connection and users cannot.
    """

    kind: str
    title: str
    config: type[ConnectorConfig]
    directions: frozenset[Direction]
    secrets_follow: frozenset[str] = frozenset()
    optional_secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    is_managed: bool = False

    def secret_fields(self) -> frozenset[str]:
        """Returns the names of the settings that are encrypted and never shown."""
        return frozenset(
            name
            for name, setting in self.config.model_fields.items()
            if "SecretStr" in str(setting.annotation)
        )

    def secrets_stored_with(self, config: Mapping[str, Any]) -> frozenset[str]:
        """Returns which secrets a connection has, by its settings that are no secrets."""
        absent = {
            secret for secret, sign in self.optional_secrets.items() if config.get(sign) is None
        }
        return self.secret_fields() - absent
