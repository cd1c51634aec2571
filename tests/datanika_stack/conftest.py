"""Fixtures of the stack's tests: a cluster whose roles and databases the tests make themselves."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from datanika_stack.databases import ensure_databases
from datanika_stack.endpoints import DatabaseEndpoints, embedded_endpoints
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.provision import Provisioner
from datanika_stack.secrets import Secrets
from tests.fixtures.ports import free_port


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a Unix socket's name."""
    directory = Path(tempfile.mkdtemp(prefix="dts", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def stack_secrets() -> Secrets:
    return Secrets(**{field.name: secrets.token_urlsafe(24) for field in fields(Secrets)})


@pytest.fixture(scope="session")
def stack_cluster(stack_secrets: Secrets) -> Iterator[EmbeddedPostgres]:
    """A cluster with the stack's databases and roles."""
    directory = Path(tempfile.mkdtemp(prefix="dts", dir="/tmp"))
    cluster = EmbeddedPostgres(
        directory / "data",
        free_port(),
        directory / "socket",
        stack_secrets.postgres_password,
        durable=False,
    )
    try:
        with cluster:
            ensure_databases(embedded_endpoints(stack_secrets, cluster.port))
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def endpoints(stack_cluster: EmbeddedPostgres, stack_secrets: Secrets) -> DatabaseEndpoints:
    return embedded_endpoints(stack_secrets, stack_cluster.port)


@pytest.fixture(scope="session")
def provisioner(endpoints: DatabaseEndpoints, stack_secrets: Secrets) -> Provisioner:
    return Provisioner(endpoints.provisioner, stack_secrets.warehouse_name_key)
