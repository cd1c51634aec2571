"""One-time links, of an invitation or a password reset, as people paste them."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, urlsplit

from datanika_stack.cli.inputs import UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]+")
_HOST = re.compile(r"[\w.-]+")
_EXPECTED = "paste the whole link (https://…) or the token behind '#token='."


@dataclass(frozen=True)
class OneTimeLink:
    """A token, and the control plane that gave it out.

    Attributes:
        token: A secret.
        origin: The control plane, as `origin_of` writes it; None where only a token was given.
    """

    token: str = field(repr=False)
    origin: str | None


def parse_link(text: str) -> OneTimeLink:
    """Reads a link, or the bare token of one.

    Raises:
        UsageError: It is neither, or the link has no token.
    """
    text = text.strip()
    if _TOKEN.fullmatch(text):
        return OneTimeLink(text, None)
    parts = _split(text)
    for values in (parse_qs(parts.fragment), parse_qs(parts.query)):
        if values.get("token"):
            return OneTimeLink(values["token"][0], origin_of(text))
    raise UsageError(f"The link holds no token; {_EXPECTED}")


def origin_of(url: str) -> str:
    """Returns scheme, host and port of `url`, written in one way (RFC 6454, 6.2).

    Raises:
        UsageError: It is no http(s) URL, or names a user, which could be taken for the host.
    """
    parts = _split(url)
    host = parts.hostname or ""
    if parts.port not in (None, _DEFAULT_PORTS[parts.scheme]):
        return f"{parts.scheme}://{_bracketed(host)}:{parts.port}"
    return f"{parts.scheme}://{_bracketed(host)}"


def is_private(origin: str) -> bool:
    """Tells whether nobody on the way can read what is sent to `origin`."""
    parts = urlsplit(origin)
    address = _address(parts.hostname or "")
    is_this_machine = parts.hostname == "localhost" or (address and address.is_loopback)
    return parts.scheme == "https" or bool(is_this_machine)


def _split(url: str) -> SplitResult:
    # Never shows the text: it may hold a token.
    try:
        parts = urlsplit(url)
        if parts.scheme in _DEFAULT_PORTS and parts.port != 0 and _has_plain_host(parts):
            return parts
    except ValueError:
        pass
    raise UsageError(f"This is no http or https link, and no token either; {_EXPECTED}") from None


def _has_plain_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return "@" not in parts.netloc and bool(_HOST.fullmatch(host) or _address(host))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
