"""The text of the embedded cluster's configuration files. Pure: knows no process and no password."""

from pathlib import Path
from typing import Final

# No line says trust or peer, and none allows replication: whoever connects proves a password, from
# the socket directory and from loopback alike, the operating system's root and postgres included.
PG_HBA: Final = """\
# Written by datanika at each start; changes are lost.
# TYPE  DATABASE  USER  ADDRESS        METHOD
local   all       all                  scram-sha-256
host    all       all   127.0.0.1/32   scram-sha-256
host    all       all   ::1/128        scram-sha-256
"""

# Sized for a machine of 2 cores and 4 GB that also runs everything else of the stack.
_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "password_encryption": "'scram-sha-256'",
    "shared_buffers": "'256MB'",
    "effective_cache_size": "'1GB'",
    "work_mem": "'16MB'",
    "maintenance_work_mem": "'128MB'",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    # Row-level security and short catalogue queries: compiling them costs more than running them.
    "jit": "off",
    # Nobody replicates an embedded cluster; bulk loads into new tables skip the log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "'2GB'",
    "min_wal_size": "'256MB'",
    "checkpoint_timeout": "'15min'",
    "idle_in_transaction_session_timeout": "'15min'",
    "tcp_keepalives_idle": "60",
    # A backend whose client was killed while it waits for a lock would else go on waiting.
    "client_connection_check_interval": "'5s'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "datestyle": "'iso, ymd'",
    "lc_messages": "'C'",
    "log_line_prefix": "'%m [%p] %u@%d '",
    # A failed statement's text may hold what a tenant wrote, passwords of roles among it.
    "log_min_error_statement": "'panic'",
    "log_min_duration_statement": "-1",
    "log_statement": "'none'",
    "default_text_search_config": "'pg_catalog.english'",
}
_NOT_DURABLE: Final[dict[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


def postgresql_conf(port: int, socket_dir: Path, *, durable: bool) -> str:
    """Returns `postgresql.conf`.

    Args:
        port: The TCP port on loopback.
        socket_dir: Where the Unix socket is made.
        durable: False gives up crash safety for speed; tests only.
    """
    quoted = str(socket_dir).replace("'", "''")
    settings = dict(_SETTINGS) | {"port": str(port), "unix_socket_directories": f"'{quoted}'"}
    if not durable:
        settings |= _NOT_DURABLE
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["# Written by datanika at each start; changes are lost.", *lines, ""])
