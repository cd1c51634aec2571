"""What is known of a request beside its body: who sent it from where, and under which trace id."""

from starlette.requests import HTTPConnection


def client_address(request: HTTPConnection) -> str | None:
    """Returns the caller's address; behind trusted proxies the one that they saw."""
    known = getattr(request.state, "client_address", None)
    if known is not None:
        return str(known)
    return request.client.host if request.client else None


def trace_id(request: HTTPConnection) -> str | None:
    """Returns the id that the request's log lines and audit entries carry."""
    return getattr(request.state, "trace_id", None)
