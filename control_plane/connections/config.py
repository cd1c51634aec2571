"""Checks a connection's settings against its connector's declaration and splits off the secrets."""

from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr, ValidationError

from control_plane.core.errors import FieldError, Invalid
from control_plane.core.problems import validation_field_errors
from datanika_manifest.connectors.base import ConnectorDeclaration, Direction
from datanika_manifest.connectors.registry import CONNECTORS


@dataclass(frozen=True)
class SplitConfig:
    """A valid configuration: what may be shown, and what is encrypted."""

    public: dict[str, Any]
    secrets: dict[str, str]


def get_declaration(connector: str) -> ConnectorDeclaration:
    """Returns the declaration of a connector.

    Raises:
        Invalid: No such connector, or one whose connections only the platform makes.
    """
    declaration = CONNECTORS.get(connector)
    if declaration is None or declaration.is_managed:
        known = ", ".join(sorted(k for k, d in CONNECTORS.items() if not d.is_managed))
        raise Invalid.field("/connector", f"Unknown connector '{connector}'; known: {known}")
    return declaration


def check_direction(declaration: ConnectorDeclaration, direction: Direction) -> None:
    """Checks that the connector can be used in this direction.

    Raises:
        Invalid: It cannot.
    """
    if direction not in declaration.directions:
        allowed = ", ".join(sorted(declaration.directions))
        raise Invalid.field(
            "/direction", f"{declaration.title} cannot be a '{direction}'; allowed: {allowed}"
        )


def refuse_secrets_elsewhere(
    declaration: ConnectorDeclaration, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Lets stored secrets stay only where they are sent to the same place.

    Args:
        declaration: The connector.
        old: The stored settings that are no secrets.
        new: The settings that somebody changes, secrets included.

    Raises:
        Invalid: The place changes and a secret is missing; names each.
    """
    moved = sorted(
        name for name in declaration.secrets_follow if name in new and new[name] != old.get(name)
    )
    missing = sorted(declaration.secrets_stored_with(old) - set(new))
    if moved and missing:
        detail = f"must be given again when {', '.join(moved)} changes"
        errors = tuple(FieldError(f"/config/{name}", detail) for name in missing)
        raise Invalid(f"{', '.join(missing)} {detail}", errors=errors)


def split_config(declaration: ConnectorDeclaration, config: dict[str, Any]) -> SplitConfig:
    """Validates settings and splits off the secrets.

    Raises:
        Invalid: Names each field that is missing, unknown or wrong; no submitted value.
    """
    try:
        valid = declaration.config.model_validate(config)
    except ValidationError as error:
        errors = tuple(
            FieldError(f"/config{e.pointer}", e.detail)
            for e in validation_field_errors(error.errors(include_input=False, include_url=False))
        )
        names = ", ".join(e.pointer.removeprefix("/config/") for e in errors)
        raise Invalid(f"Check the settings of the connection: {names}", errors=errors) from None
    public: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for name in declaration.config.model_fields:
        value = getattr(valid, name)
        if isinstance(value, SecretStr):
            secrets[name] = value.get_secret_value()
        elif value is not None:
            public[name] = value
    return SplitConfig(public, secrets)


def needs_secrets(declaration: ConnectorDeclaration) -> bool:
    """Tells whether a connection of this kind cannot be without secrets."""
    fields = declaration.config.model_fields
    return any(fields[name].is_required() for name in declaration.secret_fields())
