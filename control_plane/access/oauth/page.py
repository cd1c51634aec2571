"""What a person sees where a sign-in by a provider ends without success."""

import base64
import hashlib
from html import escape
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse

from control_plane.core.errors import DatanikaError, Throttled

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}
main{width:min(30rem,90vw)}
code{opacity:.7}
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Datanika</title>
<style>{style}</style></head><body><main><h1>{title}</h1><p role="alert">{detail}</p>
<p><a href="{login}">Sign in</a></p><p><code>{code}</code></p></main></body></html>"""


def error_page(error: DatanikaError, next_url: str | None = None) -> HTMLResponse:
    """Returns the page, with a link to sign in again.

    Args:
        error: What happened; its texts never hold what a provider or a request sent.
        next_url: Where to go after signing in again, already checked.
    """
    login = "/login" + (f"?{urlencode({'next': next_url})}" if next_url else "")
    html = PAGE.format(
        style=STYLE,
        title=escape(error.title),
        detail=escape(error.detail),
        login=escape(login),
        code=escape(error.code),
    )
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return HTMLResponse(html, status_code=error.status, headers=headers)
