"""A host leaves its socket's path to whoever has taken it over."""

import selectors
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datanika_dagster.launcher.host.door import Door


@pytest.fixture
def path(socket_directory: Path) -> Path:
    return socket_directory / "one.sock"


@pytest.fixture
def new_door(path: Path) -> Iterator[Callable[[], Door]]:
    doors: list[Door] = []
    with selectors.DefaultSelector() as selector:

        def make() -> Door:
            doors.append(Door(path, selector))
            return doors[-1]

        yield make
        for door in doors:
            door._listener.close()


def test_one_that_goes_does_not_shut_its_successors_door(path: Path, new_door):
    before, after = new_door(), new_door()
    before.open()
    after.open()
    before.remove()
    assert path.is_socket()
    after.remove()
    assert not path.exists()
    after.remove()


def test_one_that_was_never_opened_removes_nothing(path: Path, new_door):
    new_door().open()
    new_door().remove()
    assert path.is_socket()
