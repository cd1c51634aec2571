"""The logins of deleted orgs: who is asked to close them, when, and never those of an org that lives."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org, make_session_factory
from control_plane.core.errors import Unavailable
from control_plane.core.vault import Vault
from control_plane.warehouses.closing import RUNS_END_WITHIN, Closing
from control_plane.warehouses.provisioner import Provisioner
from datanika_stack.provision_server import InvalidRequestError, ProvisionServer, Request
from tests.factories.access import Member, make_member

NOW = timedelta()
LATE = RUNS_END_WITHIN + timedelta(minutes=1)


class Doors:
    """A real server that notes what it is asked, and refuses what it is told to."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, int]] = []
        self.refuses: set[int] = set()
        operations = {
            name: lambda request, name=name: self._note(name, request)
            for name in ("close_reader", "close_logins")
        }
        self.server = ProvisionServer(operations, path)

    def _note(self, name: str, request: Request) -> dict[str, object]:
        if request.org_id in self.refuses:
            raise InvalidRequestError("no")
        self.asked.append((name, request.org_id))
        return {}


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory short enough for a socket's path."""
    path = Path(tempfile.mkdtemp(prefix="dtc", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def other_member(session: Session, vault: Vault) -> Member:
    return make_member(session, vault)


@pytest.fixture
def doors(short_dir: Path) -> Iterator[Doors]:
    made = Doors(short_dir / "doors" / "provisioner.sock")
    made.server.start()
    yield made
    made.server.close()


@pytest.fixture
def closing(doors: Doors, session: Session, outer_connection: Connection, short_dir) -> Closing:
    factory = make_session_factory(outer_connection, join_transaction_mode="create_savepoint")
    made = Closing(factory, Provisioner(short_dir / "doors" / "provisioner.sock"))
    made.run_once()
    doors.asked.clear()
    return made


def delete(session: Session, org_id: int, ago: timedelta | None) -> None:
    enter_org(session, org_id)
    session.execute(
        text("UPDATE organizations SET deleted_at = :at WHERE id = :id"),
        {"at": None if ago is None else utc_now() - ago, "id": org_id},
    )
    session.commit()


def test_an_org_that_lives_is_left_alone(closing: Closing, doors: Doors, member):
    closing.run_once()
    assert doors.asked == []


def test_people_at_once_runs_later_and_each_once(closing, doors, session, member):
    delete(session, member.org.id, NOW)
    closing.run_once()
    closing.run_once()
    assert doors.asked == [("close_reader", member.org.id)]
    delete(session, member.org.id, LATE)
    closing.run_once()
    closing.run_once()
    assert doors.asked[1:] == [("close_logins", member.org.id)]


def test_one_that_came_back_and_went_again(closing, doors, session, member):
    delete(session, member.org.id, LATE)
    closing.run_once()
    delete(session, member.org.id, None)
    closing.run_once()
    assert doors.asked == [("close_logins", member.org.id)]
    delete(session, member.org.id, LATE + timedelta(hours=1))
    closing.run_once()
    assert doors.asked == [("close_logins", member.org.id)] * 2


def test_one_that_fails_keeps_no_other_open(closing, doors, session, member, other_member):
    for one in (member, other_member):
        delete(session, one.org.id, LATE)
    doors.refuses.add(member.org.id)
    with pytest.raises(Unavailable):
        closing.run_once()
    assert doors.asked == [("close_logins", other_member.org.id)]
    doors.refuses.clear()
    closing.run_once()
    assert doors.asked[1:] == [("close_logins", member.org.id)]
