"""The platform's own PostgreSQL, and the machine's metadata service, are closed to jobs."""

import psycopg
import pytest

from datanika_dagster.connectors.network import NetworkPolicy
from datanika_dagster.launcher.job import JobError


def refusal(attempt):
    """Returns what PostgreSQL or the system says to somebody who tries to connect."""
    try:
        with attempt() as connection:
            return f"connected as {connection.info.user}"
    except psycopg.OperationalError as error:
        return str(error)


class TestEmbeddedPostgres:
    @pytest.mark.parametrize("kind", ["job", "run"])
    @pytest.mark.parametrize("password", [None, "", "postgres"])
    def test_nobody_is_let_in_without_the_password(self, rooted, postgres_cluster, kind, password):
        port = postgres_cluster.port

        def attack():
            return refusal(
                lambda: psycopg.connect(
                    host="127.0.0.1",
                    port=port,
                    user="postgres",
                    password=password,
                    connect_timeout=5,
                    passfile="/nonexistent",
                )
            )

        said = getattr(rooted, kind)(attack).said
        assert "no password supplied" in said or "password authentication failed" in said

    def test_its_socket_is_not_there(self, machine, postgres_cluster):
        socket_dir, port = str(postgres_cluster.socket_dir), postgres_cluster.port

        def attack():
            return refusal(
                lambda: psycopg.connect(
                    host=socket_dir, port=port, user="postgres", connect_timeout=5
                )
            )

        assert "No such file or directory" in machine.job(attack).said

    def test_its_files_are_closed(self, machine, postgres_cluster):
        data_dir = postgres_cluster.data_dir

        def attack():
            try:
                return sorted(path.name for path in data_dir.iterdir())
            except OSError as error:
                return type(error).__name__

        assert machine.job(attack).said == "FileNotFoundError"

    def test_with_the_password_the_same_way_leads_in(self, rooted, postgres_cluster):
        # Else the refusals above would prove nothing.
        dsn = postgres_cluster.dsn()
        assert rooted.job(lambda: refusal(lambda: psycopg.connect(dsn))).said == (
            "connected as postgres"
        )


def test_a_job_may_not_even_try_the_metadata_service(machine):
    def attack():
        try:
            NetworkPolicy.of([]).resolve("169.254.169.254", 80)
        except JobError as error:
            return error.code

    assert machine.job(attack).said == "connection.network_denied"
