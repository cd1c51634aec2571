"""Settings of the command line and the stack: the only place in this package that reads the environment."""

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """What commands that speak to the REST API take from the environment.

    `DATANIKA_ORG` and `DATANIKA_API_URL` are options of each command with the same defaults.
    """

    model_config = SettingsConfigDict(env_prefix="DATANIKA_", extra="ignore", frozen=True)

    home: Path = Field(
        default=Path(".datanika"), description="Where a local stack keeps its state."
    )
    api_key: SecretStr | None = Field(
        default=None, description="API key that commands use instead of a login."
    )
    api_key_header: str = Field(
        default="X-API-Key",
        validation_alias=AliasChoices("API_KEY_HEADER", "DATANIKA_API_KEY_HEADER"),
        description="The request header that carries an API key.",
    )
