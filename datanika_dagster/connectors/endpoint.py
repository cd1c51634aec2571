"""One PostgreSQL database to connect to, with the address that the network policy has checked."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import certifi
import psycopg

from datanika_dagster.connectors import errors
from datanika_dagster.connectors.certificate_files import Certificates
from datanika_dagster.launcher.job import JobError

CONNECT_TIMEOUT_SECONDS = 10
_PROBE_TIMEOUT_SECONDS = 1.5
# Text of dates, intervals and floats must not depend on a role's or a server's settings. Set
# after the log-in: connection poolers refuse the start-up parameter `options`.
_SESSION = (
    "set timezone to 'UTC'; set datestyle to 'ISO'; set intervalstyle to 'postgres';"
    "set extra_float_digits to 3; set statement_timeout to 0;"
    "set idle_in_transaction_session_timeout to 0"
)

# Where the server has them and can: it must not end a session that waits for the others of its
# job, and must notice in seconds that a job was killed, whatever timeout the statement has.
_SESSION_WHERE_KNOWN = """
select set_config(name, wanted, false) from pg_settings
join (values ('idle_session_timeout', '0'), ('client_connection_check_interval', %s))
  as session (known, wanted) on known = name
"""
SAFE_AUTHENTICATION = "scram-sha-256,md5"
CONNECTION_CHECK = "5s"
TCP_USER_TIMEOUT_MILLISECONDS = 120_000


@dataclass(frozen=True)
class Endpoint:
    """How to log in.

    Attributes:
        host: The name as the user wrote it; TLS certificates are checked against it.
        port: TCP port.
        database: Database name.
        user: Role.
        password: Its password; never shown by `repr`.
        sslmode: As libpq names it.
        certificates: What TLS verifies the server with and shows of the client.
        addresses: The checked addresses of `host`; empty for the platform's own warehouse.
        reader: User and password of the SELECT-only twin, where there is one.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "prefer"
    certificates: Certificates = field(default_factory=Certificates, repr=False)
    addresses: tuple[str, ...] = ()
    reader: tuple[str, str] | None = field(default=None, repr=False)

    def as_reader(self) -> "Endpoint":
        """Returns the same database for the SELECT-only twin, itself where there is none."""
        if self.reader is None:
            return self
        user, password = self.reader
        return replace(self, user=user, password=password, reader=None)

    def pinned(self, timeout_seconds: float = _PROBE_TIMEOUT_SECONDS) -> "Endpoint":
        """Returns this endpoint with the one address that answers.

        A name often has several addresses (`localhost` is `::1` and `127.0.0.1`) of which the
        server listens on one; dlt, dbt and libpq are all given that one.

        Raises:
            JobError: `connection.refused` or `connection.timeout`.
        """
        if not self.addresses:
            return self
        last: Exception | None = None
        for address in self.addresses:
            try:
                socket.create_connection((address, self.port), timeout_seconds).close()
            except OSError as error:
                last = error
            else:
                return replace(self, addresses=(address,))
        if isinstance(last, TimeoutError):
            raise errors.timeout(self.host, self.port, timeout_seconds) from None
        raise errors.refused(self.host, self.port) from None

    def connection_parameters(
        self,
        *,
        application_name: str = "datanika",
        connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        """Returns libpq's keywords for psycopg, psycopg2 and dbt-postgres.

        Everything that libpq would otherwise look up in files of the operating-system user is
        given explicitly: passwords, certificates, a Kerberos ticket.
        """
        parameters: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.sslmode,
            "gssencmode": "disable",
            "passfile": "/dev/null",
            "connect_timeout": connect_timeout_seconds,
            "application_name": application_name,
            "client_encoding": "UTF8",
            "keepalives_idle": 60,
            "keepalives_interval": 10,
            "keepalives_count": 6,
            # Keep-alives are not sent while data wait to be acknowledged.
            "tcp_user_timeout": TCP_USER_TIMEOUT_MILLISECONDS,
        }
        if self.addresses:
            parameters["hostaddr"] = self.addresses[0]
        parameters |= self.certificates.client_parameters()
        if self.sslmode in ("verify-ca", "verify-full"):
            parameters["sslrootcert"] = self.certificates.root_file() or certifi.where()
        else:
            # Whoever answers could be anybody, and must not be told the password.
            parameters["require_auth"] = SAFE_AUTHENTICATION
        return parameters

    def url(self, *, application_name: str = "datanika") -> str:
        """Returns a libpq URL with every part escaped. It holds the password: never log it."""
        parameters = self.connection_parameters(application_name=application_name)
        netloc = ":".join(
            quote(str(parameters.pop(part)), safe="") for part in ("user", "password")
        )
        host = quote(str(parameters.pop("host")), safe="")
        port, database = parameters.pop("port"), quote(parameters.pop("dbname"), safe="")
        query = urlencode(parameters, quote_via=quote)
        return f"postgresql://{netloc}@{host}:{port}/{database}?{query}"

    @contextmanager
    def connect(
        self,
        *,
        application_name: str = "datanika",
        connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    ) -> Iterator[psycopg.Connection]:
        """Opens a connection; commits at the end, rolls back on an exception.

        Raises:
            JobError: One of the codes of `connectors.errors`.
        """
        parameters = self.connection_parameters(
            application_name=application_name, connect_timeout_seconds=connect_timeout_seconds
        )
        with self._open(parameters) as connection:
            yield connection

    def _open(self, parameters: Mapping[str, Any]) -> psycopg.Connection:
        try:
            connection = psycopg.connect(**parameters, autocommit=True)
            connection.execute(_SESSION)
            with contextlib.suppress(psycopg.errors.InvalidParameterValue):
                connection.execute(_SESSION_WHERE_KNOWN, (CONNECTION_CHECK,))
            connection.autocommit = False
            return connection
        except psycopg.Error as error:
            # `from None`: the driver's exception would carry the connection's parameters along.
            raise self._failure(error, parameters["connect_timeout"]) from None

    def _failure(self, error: psycopg.Error, timeout_seconds: float) -> JobError:
        return errors.from_start_up(
            str(error),
            host=self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            timeout_seconds=timeout_seconds,
        )
