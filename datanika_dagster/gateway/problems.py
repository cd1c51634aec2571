"""Refusals: in the form of RFC 9457, as the control plane sends them, and as a page for people."""

import json
from html import escape
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


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>No organization</title>
<h1>No organization</h1><p>{reason}</p><p><a href="{url}">Where you belong</a></p></html>
"""


def no_org_page(reason: str, url: str) -> Response:
    """Returns the page for somebody who is signed in and has nothing to see.

    Args:
        reason: Why not.
        url: Where they can go on.
    """
    text = _PAGE.format(reason=escape(reason), url=escape(url))
    headers = {"Cache-Control": "no-store"}
    return Response(text, HTTPStatus.FORBIDDEN.value, headers, media_type="text/html")
