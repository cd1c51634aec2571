"""Why a connection failed, as one of eight codes and a sentence that says what to do.

libpq gives no SQLSTATE for a failed start-up, only a text; the texts matched here are libpq's
(src/interfaces/libpq) and the server's in English, its language where `lc_messages` is not set.
No sentence ever repeats a password or a connection string.
"""

import re

from datanika_dagster.launcher.job import JobError

_NO_POSTGRESQL = re.compile(r"invalid response to SSL negotiation|expected authentication", re.I)
_REQUIREMENT = re.compile(r"authentication method requirement", re.IGNORECASE)
_PASSWORD = re.compile(r"password authentication failed|no password supplied", re.IGNORECASE)
_AUTH = re.compile(
    r"authentication failed|"
    r"role \"?.*\"? (does not exist|is not permitted to log in)|no pg_hba\.conf entry|"
    r"pg_hba\.conf rejects|SCRAM|sasl|requested authentication method",
    re.IGNORECASE,
)
_TLS = re.compile(
    r"\bSSL\b|\bTLS\b|certificate|no encryption|hostssl|root\.crt|server closed the connection "
    r"unexpectedly.*ssl",
    re.IGNORECASE,
)
_DATABASE = re.compile(r"database \"?.*\"? (does not exist|is not currently accepting)", re.I)
_PERMISSION = re.compile(r"permission denied", re.IGNORECASE)
_TIMEOUT = re.compile(r"timeout|timed out", re.IGNORECASE)
_REFUSED = re.compile(r"connection refused|actively refused", re.IGNORECASE)
_BUSY = re.compile(r"too many (clients|connections)|remaining connection slots", re.IGNORECASE)

_WANTS_CERTIFICATE = (
    "the server wants a certificate of the client: set ssl_client_certificate and ssl_client_key"
)
# Texts of libpq (fe-secure*.c), the server (auth.c) and OpenSSL; the first that matches counts.
_TLS_REASONS = (
    (
        r"does not support SSL|server does not support",
        "sslmode",
        "the server offers no TLS; set sslmode to 'prefer' or 'disable'",
    ),
    (
        r"does not match host name",
        "host",
        "its certificate is for another name than '{host}'; set host to a name that the "
        "certificate has, or sslmode to 'verify-ca'",
    ),
    (r"requires a valid client certificate", "ssl_client_certificate", _WANTS_CERTIFICATE),
    (r"alert certificate required", "ssl_client_certificate", _WANTS_CERTIFICATE),
    (
        r"certificate authentication failed|alert (unknown ca|bad certificate)",
        "ssl_client_certificate",
        "the server does not accept this client's certificate for the role",
    ),
    (
        r"certificate verify failed",
        "ssl_root_certificate",
        "the server's certificate is not signed by ssl_root_certificate (where that is empty, by "
        "a public authority), or is not valid at this time",
    ),
    (
        r"no encryption|pg_hba",
        "sslmode",
        "the server wants TLS (set sslmode to 'require'), or its pg_hba.conf has no entry for "
        "this role, database and address",
    ),
    (
        r"certificate|root\.crt|host name",
        "sslmode",
        "the server's certificate could not be verified",
    ),
)


def dns(host: str, reason: str) -> JobError:
    """The host's name leads nowhere."""
    return JobError(
        "connection.dns",
        f"The host '{host}' could not be resolved: {reason}. Check its spelling.",
        field="host",
        is_retryable=True,
    )


def network_denied(host: str, address: str) -> JobError:
    """The address is one that tenants may not connect to."""
    return JobError(
        "connection.network_denied",
        f"The host '{host}' leads to {address}, which this installation does not allow. Its "
        "operator can open a network with DATANIKA_ALLOWED_NETWORKS.",
        field="host",
    )


def refused(host: str, port: int, reason: str = "the connection was refused") -> JobError:
    """Nothing listens, or the way is blocked."""
    return JobError(
        "connection.refused",
        f"No database answers at {host}:{port}: {reason}. Check host, port and firewall.",
        field="port",
        is_retryable=True,
    )


def timeout(host: str, port: int, seconds: float) -> JobError:
    """Somebody swallowed the packets."""
    return JobError(
        "connection.timeout",
        f"{host}:{port} did not answer within {seconds:g} s. Check host, port and firewall.",
        field="host",
        is_retryable=True,
    )


def permission(message: str) -> JobError:
    """The role got in, but may not do what is asked of it."""
    return JobError("connection.permission", message, field="user")


def from_start_up(
    text: str, *, host: str, port: int, database: str, user: str, timeout_seconds: float
) -> JobError:
    """Tells what a failed connection attempt means.

    Args:
        text: libpq's error text.
        host: As the user wrote it.
        port: TCP port.
        database: The database that was asked for.
        user: The role that tried.
        timeout_seconds: How long the attempt could take.
    """
    if _DATABASE.search(text):
        return JobError(
            "connection.database_missing",
            f"There is no database '{database}' at {host}:{port} that accepts connections.",
            field="database",
        )
    if _PERMISSION.search(text):
        return permission(f"The role '{user}' may not connect to the database '{database}'.")
    if _NO_POSTGRESQL.search(text):
        return refused(host, port, "what answers there is no PostgreSQL")
    if _REQUIREMENT.search(text):
        return _unsafe_auth(host, port)
    if _PASSWORD.search(text):
        return _auth(host, port, user)
    # "no pg_hba.conf entry …, no encryption" is about TLS, not about the password.
    if _TLS.search(text):
        return _tls(host, port, text)
    if _AUTH.search(text):
        return _auth(host, port, user)
    return _unreachable(text, host, port, timeout_seconds)


def _unreachable(text: str, host: str, port: int, timeout_seconds: float) -> JobError:
    if _BUSY.search(text):
        return refused(host, port, "the server has no free connection slots")
    if _TIMEOUT.search(text):
        return timeout(host, port, timeout_seconds)
    if _REFUSED.search(text):
        return refused(host, port)
    return refused(host, port, "the server ended the connection, or is no PostgreSQL")


def _auth(host: str, port: int, user: str) -> JobError:
    return JobError(
        "connection.auth",
        f"{host}:{port} refused the role '{user}' or its password.",
        field="password",
    )


def _unsafe_auth(host: str, port: int) -> JobError:
    return JobError(
        "connection.auth",
        f"{host}:{port} does not ask for the password by SCRAM or MD5. It is given in another way "
        "only to a server whose certificate is verified: set sslmode to 'verify-full'.",
        field="sslmode",
    )


def _tls(host: str, port: int, text: str) -> JobError:
    for pattern, field, reason in _TLS_REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            message = f"No TLS with {host}:{port}: {reason.format(host=host)}."
            return JobError("connection.tls", message, field=field)
    message = f"No TLS with {host}:{port}: the TLS handshake failed."
    return JobError("connection.tls", message, field="sslmode")
