"""What outgoing TLS connections trust, read once: each reading costs a core 25 milliseconds."""

import ssl
from functools import cache

import httpx


@cache
def public_authorities() -> ssl.SSLContext:
    """Returns what verifies servers of the public web: httpx's authorities, whatever is exported."""
    return httpx.create_ssl_context(trust_env=False)


@cache
def system_authorities() -> ssl.SSLContext:
    """Returns what verifies servers that the machine's owner may have made known to it."""
    return ssl.create_default_context()
