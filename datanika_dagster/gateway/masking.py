"""What somebody in an org is told of an error: that there was one, and under which reference it is logged.

Dagster puts stack traces, SQL and paths of the machine into its answers. The one kind of error that is
shown is that of a step of the org's own, whose text is written for people and holds no secret.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from graphql import GraphQLError, GraphQLObjectType, GraphQLSchema
from graphql.pyutils import Path

from datanika_dagster.errors import QuotaExceeded, RunRefused
from datanika_dagster.gateway.errors import GatewayMisconfigured
from datanika_dagster.gateway.scoped import ConfigRefused, NotEnded, OrgBoundary

logger = logging.getLogger(__name__)

SHOWN_IN: Final = frozenset({"ExecutionStepFailureEvent", "ExecutionStepUpForRetryEvent"})
"""The types whose errors are those of the org's own steps."""

OWN_CLASSES: Final = frozenset(
    one.__name__ for one in (RunRefused, QuotaExceeded, OrgBoundary, ConfigRefused, NotEnded)
)
"""Errors of this project that Dagster turns into its own on the way; they are written for people."""

_ERRORS: Final = frozenset({"PythonError", "ErrorChainLink"})
_ROOTS: Final = frozenset({"Query", "Mutation", "Subscription"})
_FIELDS: Final = frozenset({"message", "className", "stack", "cause", "causes", "errorChain"})


def mask_errors(types: GraphQLSchema) -> None:
    """Makes a schema's errors say no more than they may.

    Raises:
        GatewayMisconfigured: Errors have other fields than those that are known here.
    """
    error = types.type_map["PythonError"]
    if not isinstance(error, GraphQLObjectType) or set(error.fields) != _FIELDS:
        raise GatewayMisconfigured("Dagster's PythonError has other fields than those masked.")
    unknown = SHOWN_IN - set(types.type_map)
    if unknown:
        raise GatewayMisconfigured(f"Dagster's schema has no {sorted(unknown)}")
    fields = error.fields
    fields["stack"].resolve = lambda *_, **__: []
    texts = {"message": _reference_to, "className": lambda *_: "Error"}
    for name, otherwise in texts.items():
        fields[name].resolve = _where_shown(fields[name].resolve, otherwise, is_text=True)
    fields["cause"].resolve = _where_shown(fields["cause"].resolve, lambda *_: None)
    for name in ("causes", "errorChain"):
        fields[name].resolve = _where_shown(fields[name].resolve, lambda *_: [])


def shown_errors(errors: Sequence[GraphQLError]) -> list[Any]:
    """Returns GraphQL's errors as they may be shown."""
    return [_shown(error).formatted for error in errors]


def shown_error(error: Exception) -> GraphQLError:
    """Returns an error that ends a subscription as it may be shown."""
    return _shown(
        error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)
    )


def is_refusal(error: GraphQLError) -> bool:
    """Tells whether an error is a refusal of the gateway's own: they are errors with a code."""
    original = error.original_error or error
    return isinstance(original, GraphQLError) and "code" in (original.extensions or {})


def _shown(error: GraphQLError) -> GraphQLError:
    # Without an original it is about the query itself, and says what the caller wrote.
    if error.original_error is None or is_refusal(error):
        return error
    reference = secrets.token_hex(6)
    logger.error("Error %s of the Dagster UI", reference, exc_info=error.original_error)
    return GraphQLError(
        _text(reference), path=error.path, extensions={"code": "internal", "reference": reference}
    )


def _where_shown(
    original: Callable[..., Any] | None,
    otherwise: Callable[[Any, Any], Any],
    *,
    is_text: bool = False,
) -> Callable[..., Any]:
    if original is None:
        raise GatewayMisconfigured("A field of Dagster's PythonError has no resolver.")

    def resolve(error: Any, info: Any) -> Any:
        is_own = is_text and error._className in OWN_CLASSES
        if is_own or _holder(info.path) in SHOWN_IN:
            return original(error, info)
        return otherwise(error, info)

    return resolve


def _holder(path: Path | None) -> str | None:
    """Returns the type that holds an error: the first on the way out that is none itself."""
    while path is not None and (path.typename is None or path.typename in _ERRORS):
        path = path.prev
    return None if path is None else path.typename


def _reference_to(error: Any, info: Any) -> str:
    reference = secrets.token_hex(6)
    if _holder(info.path) in _ROOTS:
        # Others are states that the UI asks for again and again; their cause is logged where it is.
        logger.error("Error %s of the Dagster UI: %s", reference, error._error_info.to_string())
        return _text(reference)
    return "Something went wrong here; the platform's operator finds the cause in its logs."


def _text(reference: str) -> str:
    return f"Something went wrong here. The platform's operator finds the cause under {reference}."
