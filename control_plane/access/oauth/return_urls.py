r"""Where a sign-in may lead: the platform's own two origins, and what the settings list.

Browsers and `urllib` disagree about what a URL's host is (`//host`, `/\\host`, a tab in between,
user information before an `@`). So nothing is parsed to be compared: a URL has only characters that
RFC 3986 allows, and begins, letter by letter, with an origin of the platform and a slash.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from control_plane.access.landing import WELCOME_PATH
from control_plane.core.errors import Invalid
from control_plane.settings import Settings

MAXIMUM_CHARACTERS = 1000
# RFC 3986, section 2; neither a backslash nor a control character is one of them.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")


@dataclass(frozen=True)
class ReturnUrl:
    """Where the browser goes after a sign-in.

    Attributes:
        url: Absolute.
        is_own: Whether it is the platform's own; a listed front end redeems its code itself.
    """

    url: str
    is_own: bool


class ReturnUrls:
    """The allow-list.

    Args:
        settings: With the platform's URLs and `oauth_return_urls`.
    """

    def __init__(self, settings: Settings) -> None:
        self._public_origin = origin_of(settings.public_url)
        self._own_origins = (self._public_origin, origin_of(settings.dagster_public_url))
        self._default = self._public_origin + WELCOME_PATH
        self._listed = settings.oauth_return_urls

    def check(self, url: str | None, pointer: str = "/return_to") -> ReturnUrl:
        """Returns where to go; without a URL to the page of who is signed in.

        Args:
            url: An absolute URL, or a path of the platform.
            pointer: What the field is called in an error.

        Raises:
            Invalid: The URL is not on the list.
        """
        if not url:
            return ReturnUrl(self._default, is_own=True)
        if url in self._listed:
            return ReturnUrl(url, is_own=False)
        absolute = self._public_origin + url if _is_path(url) else url
        if not self._is_own(absolute):
            raise Invalid.field(
                pointer,
                "must be a path or URL of this platform, or one of DATANIKA_OAUTH_RETURN_URLS",
            )
        return ReturnUrl(absolute, is_own=True)

    def _is_own(self, url: str) -> bool:
        if len(url) > MAXIMUM_CHARACTERS or not _URL_CHARACTERS.fullmatch(url):
            return False
        return any(url == origin or url.startswith(f"{origin}/") for origin in self._own_origins)


def origin_of(url: str) -> str:
    """Returns scheme, host and port of one of the platform's own URLs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def add_query(url: str, **values: str) -> str:
    """Returns the URL with more in its query, before a fragment."""
    parts = urlsplit(url)
    query = "&".join(text for text in (parts.query, urlencode(values)) if text)
    return urlunsplit(parts._replace(query=query))


def _is_path(url: str) -> bool:
    return url.startswith("/") and not url.startswith("//")
