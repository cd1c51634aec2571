"""Renders errors as `application/problem+json` (RFC 9457), in one place.

Pydantic's own 422 echoes the submitted input, also of secret fields: only location, type and
message are taken from it here.
"""

import json
import logging
import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from control_plane.core.database_errors import RETRY_AFTER_SECONDS, translate
from control_plane.core.errors import DatanikaError, FieldError, Throttled, Unavailable
from control_plane.core.middleware import SECURITY_HEADERS

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)
# Of answers that no class of our own stands for: the framework's and the middleware's.
HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}


def install(app: FastAPI) -> None:
    """Registers the handlers on `app`."""
    app.add_exception_handler(DatanikaError, _on_datanika_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DataError, _on_data_error)
    app.add_exception_handler(UnicodeEncodeError, _on_half_a_character)
    app.add_exception_handler(SQLAlchemyError, _on_database_error)
    app.add_exception_handler(Exception, _on_unexpected)


class ProblemResponse(JSONResponse):
    """A problem's JSON in ASCII: what a caller sent may hold what UTF-8 has no bytes for."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """Returns the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def validation_field_errors(errors: Sequence[Any], *, skip: int = 0) -> tuple[FieldError, ...]:
    """Turns Pydantic's error list into field errors without any submitted value.

    Args:
        errors: What `ValidationError.errors()` returned.
        skip: How many leading parts of each location are not part of the body.
    """
    return tuple(
        FieldError("/" + "/".join(str(part) for part in error["loc"][skip:]), str(error["msg"]))
        for error in errors
    )


def _render(
    request: HTTPConnection,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: tuple[FieldError, ...] = (),
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": f"urn:datanika:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "code": code,
        "trace_id": getattr(request.state, "trace_id", uuid.uuid4().hex),
    }
    if errors:
        body["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in errors]
    return ProblemResponse(body, status_code=status)


def _on_datanika_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, DatanikaError):
        raise error
    return problem_of(request, error)


def problem_of(request: HTTPConnection, error: DatanikaError) -> JSONResponse:
    """Returns the answer that tells of an error, also of a WebSocket that is refused."""
    response = _render(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        errors=error.errors,
    )
    if isinstance(error, Throttled | Unavailable) and error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = validation_field_errors(error.errors(), skip=1)
    names = ", ".join(e.pointer.strip("/").replace("/", ".") or "body" for e in errors)
    return _render(
        request,
        status=422,
        code="invalid",
        title="Invalid input",
        detail=f"Check these fields: {names}",
        errors=errors,
    )


def _on_data_error(request: Request, error: Exception) -> JSONResponse:
    """PostgreSQL stores no NUL in text and no number outside its type: the input's fault."""
    logger.info("value refused by the database: %s", type(error).__name__)
    return _render(
        request,
        status=422,
        code="invalid",
        title="Invalid input",
        detail="A value cannot be stored: it has a NUL character or is a number out of range.",
    )


def _on_half_a_character(request: Request, _: Exception) -> JSONResponse:
    """JSON can escape one half of a surrogate pair; no text that is stored or hashed can."""
    return _render(
        request,
        status=422,
        code="invalid",
        title="Invalid input",
        detail="A text has half of a surrogate pair (\\ud800 to \\udfff): it is no character.",
    )


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    known = translate(error) if isinstance(error, SQLAlchemyError) else None
    if known is None:
        raise error
    logger.warning("refused by the database: %s", _reason(error))
    response = _on_datanika_error(request, known)
    if known.is_retryable:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _reason(error: Exception) -> str:
    """Returns what kind of error it was, without the statement and its values."""
    original = error.orig or error if isinstance(error, DBAPIError) else error
    return f"{type(original).__name__} {getattr(original, 'sqlstate', None) or ''}".strip()


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    code = HTTP_CODES.get(error.status_code, "bad_request")
    response = _render(
        request, status=error.status_code, code=code, title=phrase, detail=str(error.detail)
    )
    response.headers.update(error.headers or {})
    return response


def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    trace_id = getattr(request.state, "trace_id", uuid.uuid4().hex)
    # The traceback goes to the log without local variables, which could hold a secret.
    logger.error("unexpected error, trace %s", trace_id, exc_info=error)
    response = _render(
        request,
        status=500,
        code="internal",
        title="Internal error",
        detail="Something went wrong on our side; the log has it under this trace id.",
    )
    # This answer is made outside of the middleware that adds them.
    response.headers.update({**SECURITY_HEADERS, "X-Trace-Id": trace_id})
    return response
