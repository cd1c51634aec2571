"""A job reads and changes nothing but what it was given, whatever it tries."""

import ctypes
import importlib
import os
import socket
import stat
from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import Level, Principal, system_calls
from tests.datanika_dagster.launcher.fence.conftest import SECRET


def outcome(action):
    """Returns the name of the error that an action ends with, or what it gives."""
    try:
        return action()
    except OSError as error:
        return type(error).__name__


REFUSED = ("FileNotFoundError", "PermissionError", "OSError", "NotADirectoryError")


class TestOthersFiles:
    @pytest.mark.parametrize("kind", ["job", "run"])
    def test_nothing_of_the_home_is_there(self, rooted, kind):
        home = rooted.home

        def attack():
            paths = ("secrets.env", "work/job_of_two/order", "warehouse_of_two/data.duckdb")
            return [outcome(lambda p=p: (home / p).read_text()) for p in paths]

        assert set(getattr(rooted, kind)(attack).said) == {"FileNotFoundError"}

    def test_nor_where_all_orgs_have_one_user(self, machine):
        home = machine.home

        def attack():
            return [
                outcome(lambda: (home / "secrets.env").read_text()),
                outcome(lambda: (home / "work/job_of_two/order").read_text()),
                [path.name for path in home.iterdir()],
                [path.name for path in (home / "work").iterdir()],
            ]

        missing = "FileNotFoundError"
        assert machine.job(attack).said == [missing, missing, ["work"], ["job_one"]]

    @pytest.mark.parametrize("way", ["link", "symlink", "proc", "climb", "descriptor"])
    def test_no_way_round_leads_there(self, machine, way):
        home = machine.home
        target = str(home / "secrets.env")

        def attack():
            if way == "link":
                return outcome(lambda: os.link(target, "mine"))
            if way == "symlink":
                Path("mine").symlink_to(target)
                return outcome(Path("mine").read_text)
            if way == "proc":
                return outcome(Path(f"/proc/1/root{target}").read_text)
            if way == "climb":
                return outcome((Path("../../") / "secrets.env").read_text)
            here = os.open(".", os.O_RDONLY)
            return outcome(lambda: os.open("../../secrets.env", os.O_RDONLY, dir_fd=here))

        assert machine.job(attack).said in REFUSED

    def test_what_is_given_is_there_and_only_to_read(self, machine):
        given = machine.home / "warehouse_of_two"
        given.chmod(0o777)
        (given / "data.duckdb").chmod(0o666)

        def attack():
            return [
                (given / "data.duckdb").read_text(),
                outcome(lambda: (given / "data.duckdb").write_text("changed")),
                outcome(lambda: (given / "new").touch()),
            ]

        said = machine.job(attack, readable=(given,)).said
        assert said[0] == SECRET
        assert said[1:] == ["OSError", "OSError"]  # a read-only file system, whoever owns it
        assert (given / "data.duckdb").read_text() == SECRET

    def test_what_is_to_be_written_is_written_in_place(self, machine):
        own = machine.home / "warehouse_of_two"

        def attack():
            (own / "data.duckdb").write_text("mine")
            (Path.cwd() / "kept").write_text("mine")
            Path("/tmp/scratch").write_text("mine")
            return str(Path.cwd())

        assert machine.job(attack, writable=(own,)).said == str(machine.work_dir())
        assert (own / "data.duckdb").read_text() == "mine"
        assert (machine.work_dir() / "kept").read_text() == "mine"
        assert (machine.work_dir() / "tmp" / "scratch").read_text() == "mine"

    def test_the_code_and_the_system_are_there_to_read_only(self, machine):
        def attack():
            importlib.import_module("wave")  # nothing has loaded it yet
            places = (Path(os.__file__), Path(__file__).parents[4] / "datanika_dagster/tags.py")
            written = [outcome(lambda p=p: p.open("a").close()) for p in places]
            made = [outcome((Path(p) / "x").touch) for p in ("/", "/usr", "/etc", "/dev", "/run")]
            return [written, made, sorted(p.name for p in Path("/etc").glob("*shadow*"))]

        written, made, shadows = machine.job(attack).said
        assert set(written + made) <= set(REFUSED)
        assert shadows == []

    def test_another_orgs_directory_is_closed_to_its_user(self, rooted):
        own = rooted.home / "warehouse_of_two"
        rooted.job(lambda: None, org_id=2, writable=(own,))
        said = rooted.job(lambda: outcome((own / "data.duckdb").read_text), readable=(own,)).said
        assert said == "PermissionError"
        said = rooted.run(
            lambda: outcome((own / "data.duckdb").read_text), org_id=2, readable=(own,)
        ).said
        assert said == SECRET  # an org's run reads what its jobs have made


class TestLeavingTheView:
    def test_unmounting_mounting_and_chroot_are_refused(self, machine):
        def attack():
            return [
                outcome(lambda: system_calls.detach("/tmp")),
                outcome(lambda: system_calls.detach("/proc")),
                outcome(lambda: system_calls.mount("tmpfs", "/tmp", "tmpfs", 0)),
                outcome(lambda: system_calls.mount("/", "/tmp", None, system_calls.MS_BIND)),
                outcome(lambda: os.chroot("/tmp")),
                outcome(lambda: os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))),
                outcome(lambda: system_calls.unshare(system_calls.CLONE_NEWNS)),
            ]

        assert set(machine.job(attack).said) == {"PermissionError"}

    def test_a_user_namespace_of_its_own_reveals_nothing(self, machine):
        home = machine.home

        def attack():
            flags = system_calls.CLONE_NEWUSER | system_calls.CLONE_NEWNS
            unshared = outcome(lambda: system_calls.unshare(flags))
            for place in ("/proc", "/tmp", str(home / "work"), str(home), "/"):
                outcome(lambda p=place: system_calls.detach(p))
            outcome(lambda: system_calls.mount("none", "/", None, system_calls.MS_REC | 1 << 18))
            outcome(lambda: system_calls.mount("/", "/tmp", None, system_calls.MS_BIND))
            return [
                unshared,
                outcome(lambda: system_calls.open_mount(Path("/"))),
                outcome((home / "secrets.env").read_text),
                outcome(Path(f"/tmp/{home}/secrets.env").read_text),
                outcome(Path("/usr/planted").touch),
            ]

        said = machine.job(attack).said
        assert set(said[1:]) <= set(REFUSED)

    def test_chroot_and_a_kept_directory_do_not_leave_it(self, machine):
        home = machine.home

        def attack():
            outcome(lambda: system_calls.unshare(system_calls.CLONE_NEWUSER))
            Path("jail").mkdir()
            kept = os.open("/", os.O_RDONLY)
            outcome(lambda: os.chroot("jail"))
            os.fchdir(kept)
            for _ in range(20):
                os.chdir("..")
            outcome(lambda: os.chroot("."))
            return outcome(Path(f"{home}/secrets.env").read_text)

        assert machine.job(attack).said in REFUSED

    def test_a_setuid_program_gives_nothing(self, rooted):
        given = rooted.home / "programs"
        given.mkdir(mode=0o755)
        program = given / "id"
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o4755)

        def attack():
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.dup2(writing, 1)
                os.execv(program, ["id", "-u"])
            os.waitpid(child, 0)
            return os.read(reading, 100).decode().strip()

        uid, _ = rooted.fence.user_of(Principal(1, "job"))
        assert rooted.job(attack, readable=(given,)).said == str(uid)

    def test_it_has_no_capability_and_never_will(self, machine):
        def attack():
            lines = Path("/proc/self/status").read_text().splitlines()
            fields = dict(line.split(":\t") for line in lines if ":\t" in line)
            return {name: value for name, value in fields.items() if name.startswith(("Cap", "No"))}

        said = machine.job(attack).said
        assert said.pop("NoNewPrivs") == "1"
        assert {int(value, 16) for value in said.values()} == {0}

    def test_no_descriptor_comes_with_the_fence(self, machine):
        def attack():
            opened = [path for path in Path("/proc/self/fd").iterdir() if path.exists()]
            return sorted(str(path.readlink()) for path in opened)

        said = machine.job(attack).said
        assert not [name for name in said if "ns/" in name or name.startswith("/proc")]


def test_sockets_of_the_stack_are_not_there(machine):
    runtime = machine.home / "runtime"
    runtime.mkdir(mode=0o755)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(runtime / "keys.sock"))
    (runtime / "keys.sock").chmod(0o777)
    server.listen()

    def attack():
        client = socket.socket(socket.AF_UNIX)
        return outcome(lambda: client.connect(str(runtime / "keys.sock")))

    with server:
        assert machine.job(attack).said == "FileNotFoundError"
        if machine.level is Level.USERS:
            assert machine.run(attack).said == "FileNotFoundError"


def test_libc_is_the_one_that_the_calls_are_made_with():
    # The attacks above would prove nothing if these calls could not succeed at all.
    assert ctypes.CDLL(None).unshare(0) == 0
