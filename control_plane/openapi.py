"""Completes the OpenAPI document: who may call an operation, and how each can refuse.

FastAPI would declare its own body for 422, which `core/problems.py` never sends, and nothing for
the other refusals. The document is completed here, once, from the gates of the routes, so that no
route can forget a refusal or show a lock that it does not have.
"""

from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from control_plane.access.caller import Require, RequireOperator, current_user
from control_plane.core import errors
from control_plane.routes import Operation, operations_of

PROBLEM_MEDIA_TYPE = "application/problem+json"
_SCHEMA_PREFIX = "#/components/schemas/"
# Status → what it means; one shared response each.
_REFUSALS: dict[int, str] = {
    400: "The request cannot be read.",
    **{
        kind.status: f"{kind.title}."
        for kind in (
            errors.Unauthorized,
            errors.Forbidden,
            errors.NotFound,
            errors.PreconditionFailed,
            errors.Invalid,
            errors.Sealed,
            errors.Throttled,
            errors.Upstream,
            errors.Unavailable,
        )
    },
    409: "It clashes with what exists, or is not possible in the present state.",
    413: "The body is too large.",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which the next attempt makes sense.",
        "schema": {"type": "integer", "minimum": 0},
    }
}


class ProblemField(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(description="JSON pointer into the request.")
    detail: str = Field(description="What was received and what is allowed.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:datanika:error:` and the code.")
    title: str = Field(description="The kind of problem, the same for each occurrence.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in words.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The stable code, see docs/errors.md.")
    trace_id: str = Field(description="Ties the answer to the log.")
    errors: list[ProblemField] = Field(
        default_factory=list[ProblemField], description="The fields, where some are to blame."
    )


def complete(app: FastAPI, api_key_header: str) -> None:
    """Makes `app.openapi()` declare credentials and refusals of every operation.

    Args:
        app: The application, with its routes.
        api_key_header: The header that API keys are sent in.
    """
    generate = app.openapi

    @cache
    def completed() -> dict[str, Any]:
        document = generate()
        _add_problems(document)
        _add_credentials(document, api_key_header)
        for operation in operations_of(app):
            if operation.in_schema:
                _complete_operation(document, operation)
        return document

    app.openapi = completed  # FastAPI's documented way to extend the document


def _add_problems(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_SCHEMA_PREFIX + "{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    components["responses"] = {f"Problem{s}": _response(s, text) for s, text in _REFUSALS.items()}


def _add_credentials(document: dict[str, Any], api_key_header: str) -> None:
    document["components"]["securitySchemes"] = {
        "AccessToken": {"type": "http", "scheme": "bearer", "description": "An access token."},
        "ApiKey": {
            "type": "apiKey",
            "in": "header",
            "name": api_key_header,
            "description": "An API key.",
        },
    }


def _complete_operation(document: dict[str, Any], operation: Operation) -> None:
    described = document["paths"][operation.path][operation.method.lower()]
    described["security"] = _credentials(operation.gate)
    responses = described["responses"]
    for status in _REFUSALS:
        # What an operation declares itself stays, unless it is FastAPI's own 422.
        if status == errors.Invalid.status or str(status) not in responses:
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}


def _credentials(gate: object) -> list[dict[str, list[str]]]:
    if isinstance(gate, Require):
        return [{"AccessToken": []}, {"ApiKey": []}]
    if isinstance(gate, RequireOperator) or gate is current_user:
        return [{"AccessToken": []}]
    return []


def _response(status: int, description: str) -> dict[str, Any]:
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMA_PREFIX}Problem"}}}
    response: dict[str, Any] = {"description": description, "content": content}
    if status == errors.Throttled.status:
        response["headers"] = _RETRY_AFTER
    return response
