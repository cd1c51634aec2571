"""What operators do with keys at the same moment: whoever is last, one password opens everything."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.audit.service import SYSTEM
from control_plane.core.database import transaction
from control_plane.core.errors import Sealed
from control_plane.core.vault import Vault
from control_plane.keys import password_wrapping, unlocked
from control_plane.keys.agent import KeyAgent as AgentClient
from control_plane.keys.errors import WrongMasterPassword
from control_plane.keys.maintenance import KeyMaintenance
from control_plane.keys.master_password import MasterPassword
from control_plane.keys.repository import KEYS_LOCK, KeyRepository
from control_plane.keys.rotation import KeyRotator
from control_plane.keys.service import keyring_of
from datanika_stack.key_agent import KeyAgent
from tests.control_plane.keys.conftest import PASSWORD, Platform

OTHER = "another long password"
SECONDS = 20.0
CROWD_SECONDS = 4.0


@pytest.fixture
def vault(platform: Platform, agent: KeyAgent, socket_path: Path) -> Vault:
    """Of a process that shares the stack's agent; one org's secrets are stored."""
    platform.values["key_agent_socket"] = socket_path
    made = platform.vault()
    master_password(platform, made).set(PASSWORD)
    platform.make_org(made, connections=2)
    return made


@pytest.fixture
def held(socket_path: Path) -> AgentClient:
    """Asks the agent what it holds."""
    return AgentClient(socket_path)


def master_password(platform: Platform, vault: Vault) -> MasterPassword:
    return MasterPassword(platform.factory, keyring_of(vault), SYSTEM)


def rotator(platform: Platform, vault: Vault) -> KeyRotator:
    return KeyRotator(platform.factory, vault, keyring_of(vault))


def rotate(platform: Platform, vault: Vault, password: str = PASSWORD) -> None:
    rotation = rotator(platform, vault)
    rotation.begin(SYSTEM, password)
    rotation.advance()


def row_ids(platform: Platform) -> list[int]:
    with transaction(platform.factory) as session:
        return [row.id for row in KeyRepository(session).list_keys()]


def assert_opens_everything(platform: Platform, password: str) -> None:
    """One password opens every row, and what it opens reads every secret."""
    process = platform.vault()
    master_password(platform, process).unlock(password)
    assert [key.id for key in keyring_of(process).opened()] == row_ids(platform)
    platform.assert_all_readable(process)


class Job(threading.Thread):
    """Does something in a thread, and may stop for a moment where it has derived a key."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.has_derived = threading.Event()
        self.may_go_on = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def end(self) -> BaseException | None:
        """Lets it go on to its end and returns its error."""
        self.may_go_on.set()
        self.join(SECONDS)
        assert not self.is_alive()
        return self.error


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], Job]:
    """Returns a function that starts a job and stops it after its first right derivation."""
    real = password_wrapping.unwrap

    def unwrap(password: str, wrapped: password_wrapping.WrappedByPassword) -> str:
        key = real(password, wrapped)
        thread = threading.current_thread()
        if isinstance(thread, Job) and not thread.has_derived.is_set():
            thread.has_derived.set()
            assert thread.may_go_on.wait(SECONDS)
        return key

    monkeypatch.setattr(password_wrapping, "unwrap", unwrap)

    def start(work: Callable[[], object]) -> Job:
        job = Job(work)
        job.start()
        assert job.has_derived.wait(SECONDS)
        return job

    return start


@contextmanager
def lock_taken(platform: Platform) -> Iterator[Callable[[Callable[[], object]], Job]]:
    """Holds the lock of all keys; who waits for it gets it in the order of the calls."""
    jobs: list[Job] = []

    def queue(work: Callable[[], object]) -> Job:
        job = Job(work)
        jobs.append(job)
        job.start()
        deadline = time.monotonic() + SECONDS
        while waiting(platform) < len(jobs):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return job

    with transaction(platform.factory) as session:
        KeyRepository(session).lock()
        yield queue
    for job in jobs:
        job.end()


def waiting(platform: Platform) -> int:
    found = platform.scalar(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock"
        " AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname ="
        " current_database())",
        lock=KEYS_LOCK,
    )
    assert isinstance(found, int)
    return found


class TestChange:
    def test_between_the_check_and_the_new_key_of_a_rotation(self, platform, vault, stopped):
        begun = stopped(lambda: rotator(platform, vault).begin(SYSTEM, PASSWORD))
        master_password(platform, platform.vault()).change(PASSWORD, OTHER)
        assert isinstance(begun.end(), WrongMasterPassword)
        assert platform.scalar("SELECT count(*) FROM key_rotations") == 0
        assert platform.platform_audit()[-1] == "rotate_failed key_encryption_key"
        assert_opens_everything(platform, OTHER)

    def test_between_the_new_key_and_its_hand_over(self, platform, vault, held):
        with lock_taken(platform) as queue:
            begun = queue(lambda: rotator(platform, vault).begin(SYSTEM, PASSWORD))
            queue(lambda: master_password(platform, platform.vault()).change(PASSWORD, OTHER))
        assert isinstance(begun.error, WrongMasterPassword)
        assert len(row_ids(platform)) == 2
        assert len(held.get()) == 1
        platform.assert_all_readable(vault)
        rotate(platform, vault, OTHER)
        assert [key.id for key in held.get()] == row_ids(platform)
        assert_opens_everything(platform, OTHER)

    def test_ends_the_old_password_also_for_an_unlocking_under_way(
        self, platform, vault, held, stopped
    ):
        master_password(platform, vault).seal()
        unlocking = stopped(lambda: master_password(platform, vault).unlock(PASSWORD))
        master_password(platform, platform.vault()).change(PASSWORD, OTHER)
        assert isinstance(unlocking.end(), WrongMasterPassword)
        assert held.get() == ()
        assert_opens_everything(platform, OTHER)


class TestUnlock:
    def test_a_rotation_in_between_keeps_its_key(self, platform, vault, held, stopped):
        process = platform.vault()
        unlocking = stopped(lambda: master_password(platform, process).unlock(PASSWORD))
        rotate(platform, vault)
        assert unlocking.end() is None
        assert [key.id for key in held.get()] == row_ids(platform)
        platform.assert_all_readable(platform.vault())

    def test_a_rotation_that_has_only_begun_does_too(self, platform, vault, held, stopped):
        unlocking = stopped(lambda: master_password(platform, platform.vault()).unlock(PASSWORD))
        rotator(platform, vault).begin(SYSTEM, PASSWORD)
        assert unlocking.end() is None
        assert [key.id for key in sorted(held.get(), key=lambda key: -(key.id or 0))] == row_ids(
            platform
        )
        KeyMaintenance(platform.factory, platform.vault()).run_once()
        assert [key.id for key in held.get()] == row_ids(platform)

    def test_the_record_has_the_order_of_what_happened(self, platform, vault, held, stopped):
        unlocking = stopped(lambda: master_password(platform, platform.vault()).unlock(PASSWORD))
        master_password(platform, vault).seal()
        assert unlocking.end() is None
        assert held.get()
        assert [entry.split()[0] for entry in platform.platform_audit()[-2:]] == ["seal", "unlock"]


class TestSeal:
    def test_a_worker_that_has_not_heard_of_it_does_not_undo_it(
        self, platform, vault, held, monkeypatch
    ):
        # A second is long enough, but not for a test that must come in between each time.
        monkeypatch.setattr(unlocked, "MAXIMUM_AGE_SECONDS", 60.0)
        rotator(platform, vault).begin(SYSTEM, PASSWORD)
        worker = platform.vault()
        platform.assert_all_readable(worker)
        master_password(platform, vault).seal()
        KeyMaintenance(platform.factory, worker).run_once()
        assert platform.scalar("SELECT count(*) FROM key_rotations WHERE completed_at IS NULL") == 0
        assert held.get() == ()
        assert_opens_everything(platform, PASSWORD)

    def test_between_the_new_key_and_its_hand_over(self, platform, vault, held):
        with lock_taken(platform) as queue:
            begun = queue(lambda: rotator(platform, vault).begin(SYSTEM, PASSWORD))
            queue(lambda: master_password(platform, platform.vault()).seal())
        assert isinstance(begun.error, Sealed)
        assert held.get() == ()
        assert platform.platform_audit()[-1] == "seal master_password"
        assert_opens_everything(platform, PASSWORD)
        KeyMaintenance(platform.factory, platform.vault()).run_once()
        assert [key.id for key in held.get()] == row_ids(platform)

    def test_a_rotation_that_unlocks_is_on_record_as_such(self, platform, vault, held):
        master_password(platform, vault).seal()
        rotate(platform, vault)
        assert [key.id for key in held.get()] == row_ids(platform)
        recorded = [entry.split()[0] for entry in platform.platform_audit()[-4:]]
        assert recorded == ["seal", "rotate", "unlock", "rotation_completed"]


class Operators:
    """Two processes of operators and a worker, who do everything at any time."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.processes = [platform.vault(), platform.vault()]
        self.errors: list[BaseException] = []
        self.done: Counter[str] = Counter()
        self._works = [self._unlock, self._seal, self._change, self._rotate, self._resume]
        self._stop_at = time.monotonic() + CROWD_SECONDS

    def run(self) -> None:
        jobs = [Job(lambda work=work: self._repeat(work)) for work in self._works]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(CROWD_SECONDS + 2 * SECONDS)
            assert not job.is_alive()

    def _repeat(self, work: Callable[[Vault, str], None]) -> None:
        while self._goes_on():
            time.sleep(random.random() / 50)
            try:
                work(random.choice(self.processes), random.choice([PASSWORD, OTHER]))
                self.done[work.__name__] += 1
            except (Sealed, WrongMasterPassword):
                continue
            except BaseException as error:  # noqa: BLE001 - the test reports it
                self.errors.append(error)

    def _goes_on(self) -> bool:
        # Where the machine is busy, until each of them has come to something.
        now, has_done_all = time.monotonic(), len(self.done) == len(self._works)
        return now < self._stop_at or (not has_done_all and now < self._stop_at + SECONDS)

    def _unlock(self, vault: Vault, password: str) -> None:
        master_password(self.platform, vault).unlock(password)

    def _seal(self, vault: Vault, _password: str) -> None:
        time.sleep(0.1)
        master_password(self.platform, vault).seal()

    def _change(self, vault: Vault, password: str) -> None:
        other = OTHER if password == PASSWORD else PASSWORD
        master_password(self.platform, vault).change(password, other)

    def _rotate(self, vault: Vault, password: str) -> None:
        rotate(self.platform, vault, password)

    def _resume(self, vault: Vault, _password: str) -> None:
        KeyMaintenance(self.platform.factory, vault).run_once()


def test_everything_at_once(platform: Platform, vault: Vault, held: AgentClient):
    for _ in range(2):
        platform.make_org(vault, connections=1)
    crowd = Operators(platform)
    crowd.run()
    assert crowd.errors == []
    assert len(crowd.done) == 5, crowd.done
    password = PASSWORD
    with suppress(WrongMasterPassword):
        master_password(platform, platform.vault()).unlock(OTHER)
        password = OTHER
    assert_opens_everything(platform, password)
    KeyMaintenance(platform.factory, platform.vault()).run_once()
    assert [key.id for key in held.get()] == row_ids(platform)
    assert len(row_ids(platform)) == 1
    # The last word of the log is what the agent does: the unlocking just now.
    master_password(platform, platform.vault()).seal()
    assert held.get() == ()
    with transaction(platform.factory) as session:
        assert (
            session.scalar(text("SELECT count(*) FROM key_rotations WHERE completed_at IS NULL"))
            == 0
        )
