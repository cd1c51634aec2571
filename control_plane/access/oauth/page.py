"""What a person sees where a sign-in by a provider ends without success."""

from html import escape
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse

from control_plane.core.errors import DatanikaError, Throttled
from control_plane.core.pages import Page

BODY = """<p>{title}</p><p><a href="{login}">Sign in</a></p><p><code>{code}</code></p>"""


def error_page(error: DatanikaError, next_url: str | None = None) -> HTMLResponse:
    """Returns the page, with a link to sign in again.

    Args:
        error: What happened; its texts never hold what a provider or a request sent.
        next_url: Where to go after signing in again, already checked.
    """
    login = "/login" + (f"?{urlencode({'next': next_url})}" if next_url else "")
    body = BODY.format(title=escape(error.title), login=escape(login), code=escape(error.code))
    headers: dict[str, str] = {}
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Page(body=body, alert=error.detail).answer(error.status, headers)
