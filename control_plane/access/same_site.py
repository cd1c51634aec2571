"""Refuses requests that another site's page sends: where an answer sets or ends the UI's cookie.

A page of another site could otherwise sign a person in as somebody else (login CSRF) and so see
what they do there, or sign them out. Browsers say which site a request comes from in
`Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) and, where that is missing, in `Origin`
(https://www.rfc-editor.org/rfc/rfc6454#section-7). A client that is no browser sends neither.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from control_plane.core.dependencies import SettingsDep
from control_plane.core.errors import Forbidden
from control_plane.settings import Settings

OWN_PAGES = ("same-origin", "none")


async def require_same_site(request: Request, settings: SettingsDep) -> None:
    """Lets the platform's own pages and clients that are no browsers pass.

    Raises:
        Forbidden: The request comes from a page of another site.
    """
    if not is_own_page(request, settings):
        raise Forbidden("This request comes from a page of another site.")


def is_own_page(request: Request, settings: Settings) -> bool:
    """Tells whether a request comes from the platform itself, or from no web page."""
    origin = request.headers.get("origin")
    if origin is not None and origin in known_origins(settings):
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in OWN_PAGES
    return origin is None or _host_of(origin) == request.headers.get("host")


def known_origins(settings: Settings) -> set[str]:
    """Returns the origins of the REST API, of the Dagster UI and of pages that may call the API."""
    urls = (settings.public_url, settings.dagster_public_url, *settings.cors_origins)
    return {origin_of_url(url) for url in urls}


def origin_of_url(url: str) -> str:
    """Returns the origin of a URL, as browsers write it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


SameSite = Annotated[None, Depends(require_same_site)]
