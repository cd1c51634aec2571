"""Memory that is handed on as a descriptor."""

import os
import sys

import pytest
from pydantic import SecretStr, ValidationError

from datanika_dagster.launcher.host import order, sealed_memory
from datanika_dagster.launcher.host.order import RunOrder

ORDER = RunOrder(
    run_id="r",
    claimant="one process",
    org="acme",
    manifest_sha256="0" * 64,
    task_token=SecretStr("dtk_canary"),
    instance_ref="{}",
    storage_url=SecretStr("postgresql+psycopg2://u:canary@h/d"),
    environment={"DATANIKA_HOME": "/h"},
)


def test_it_is_read_again_and_again():
    fd = sealed_memory.sealed(b'{"x": 1}')
    assert sealed_memory.read(fd) == sealed_memory.read(fd) == b'{"x": 1}'
    os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_nobody_can_change_it():
    fd = sealed_memory.sealed(b"{}")
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_an_order_travels_whole_and_shows_no_secret():
    fd = ORDER.sealed()
    assert order.read(fd) == ORDER
    os.close(fd)
    assert "canary" not in repr(ORDER)
    assert "canary" not in str(ORDER.model_dump(mode="json"))


def test_a_broken_order_is_refused_without_being_shown():
    fd = sealed_memory.sealed(b'{"task_token": "dtk_canary"}')
    with pytest.raises(ValidationError) as refused:
        order.read(fd)
    os.close(fd)
    assert "canary" not in str(refused.value)
