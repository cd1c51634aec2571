"""Refusals in the form of RFC 9457, as the control plane sends them."""

import json
from http import HTTPStatus

from starlette.responses import Response


def problem(status: HTTPStatus, code: str, detail: str) -> Response:
    """Returns a `application/problem+json` response.

    Args:
        status: The HTTP status.
        code: Stable and dotted.
        detail: What is wrong, in the words of a person.
    """
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    return Response(json.dumps(body), status.value, media_type="application/problem+json")
