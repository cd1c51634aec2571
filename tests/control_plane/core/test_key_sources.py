"""Keys from a file follow the file, keys from a command come without a shell, and errors name no key."""

import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from control_plane.core import key_sources
from control_plane.core.errors import Sealed
from control_plane.core.key_sources import FixedKeys, KeyCommand, KeyFile, parse_keys
from tests.factories.keys import fixed_key

ONE, TWO = fixed_key("one"), fixed_key("two")


def write(path: Path, text: str) -> Path:
    """Replaces the file in one step, as a secrets manager does."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text(text)
    new.rename(path)
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write(tmp_path / "keys", f"{ONE}\n")


@pytest.fixture
def script(tmp_path: Path):
    """Returns a function that makes a command of a Python program."""

    def make(program: str) -> str:
        path = tmp_path / "command.py"
        path.write_text(program)
        return f"{sys.executable} {path}"

    return make


class TestKeys:
    @pytest.mark.parametrize("separator", [",", "\n", ", ", "\r\n", ",\n"])
    def test_separated_by_commas_or_lines(self, separator):
        assert parse_keys(f"{ONE}{separator}{TWO}\n", "the file") == (ONE, TWO)

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("hunter2hunter2", "Fernet key"),
            ("c2hvcnQ=", "32 bytes"),
            ("A" * 43 + "=", "random"),
            ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "random"),
            (f"{ONE}{TWO}", "Fernet key"),
            ("ключ", "Fernet key"),
        ],
    )
    def test_a_bad_one_is_refused_by_its_place(self, key, reason):
        with pytest.raises(Sealed, match=reason) as caught:
            parse_keys(f"{ONE},{key}", "the file")
        assert "Key 2 of the file" in caught.value.detail
        assert key not in caught.value.detail
        assert ONE not in caught.value.detail

    @pytest.mark.parametrize("text", ["", " \n", ","])
    def test_none(self, text):
        with pytest.raises(Sealed, match="holds no encryption key"):
            FixedKeys([text], "DATANIKA_ENCRYPTION_KEYS")


class TestFile:
    def test_is_read_again_when_it_is_replaced(self, key_file):
        source = KeyFile(key_file)
        assert source.keys() == (ONE,)
        write(key_file, f"{TWO},{ONE}")
        assert source.keys() == (TWO, ONE)
        assert not source.refresh()

    def test_is_read_again_when_it_is_changed_in_place(self, key_file):
        source = KeyFile(key_file)
        assert source.keys() == (ONE,)
        key_file.write_text(TWO)
        assert source.keys() == (TWO,)

    def test_a_refresh_does_not_trust_its_times(self, key_file):
        source = KeyFile(key_file)
        assert source.keys() == (ONE,)
        facts = key_file.stat()
        key_file.write_text(f"{TWO}\n")
        os.utime(key_file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert source.keys() == (ONE,)
        assert source.refresh()
        assert source.keys() == (TWO,)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
    def test_others_may_not_use_it(self, key_file, mode):
        key_file.chmod(mode)
        with pytest.raises(Sealed, match=f"mode {mode:04o}.*0600") as caught:
            KeyFile(key_file).keys()
        assert ONE not in caught.value.detail
        key_file.chmod(0o400)
        assert KeyFile(key_file).keys() == (ONE,)

    def test_a_missing_one_says_so_and_is_found_later(self, tmp_path):
        source = KeyFile(tmp_path / "keys")
        with pytest.raises(Sealed, match=r"keys cannot be read \(No such file"):
            source.keys()
        write(tmp_path / "keys", ONE)
        assert source.keys() == (ONE,)

    @pytest.mark.parametrize("text", ["", "nonsense"])
    def test_what_was_read_before_survives_a_half_written_file(self, key_file, text, caplog):
        source = KeyFile(key_file)
        source.keys()
        write(key_file, text)
        assert source.keys() == (ONE,)
        assert "stay in use" in caplog.text
        write(key_file, TWO)
        assert source.keys() == (TWO,)

    def test_whether_it_has_keys(self, tmp_path):
        source = KeyFile(tmp_path / "keys")
        assert not source.has_keys()
        write(tmp_path / "keys", ONE)
        assert source.has_keys()

    def test_a_directory_or_a_pipe_is_none(self, tmp_path):
        (tmp_path / "directory").mkdir(0o700)
        with pytest.raises(Sealed):
            KeyFile(tmp_path / "directory").keys()


class TestCommand:
    def test_prints_the_keys(self, script):
        assert KeyCommand(script(f"print('{TWO}\\n{ONE}')")).keys() == (TWO, ONE)

    def test_gets_three_variables_and_no_shell(self, script, tmp_path, monkeypatch):
        monkeypatch.setenv("DATANIKA_SECRET_KEY", "canary")
        found = tmp_path / "environment"
        program = (
            f"import os; open({str(found)!r}, 'w').write(repr(dict(os.environ))); print({ONE!r})"
        )
        KeyCommand(f"{script(program)} '; touch {tmp_path}/shell' $(touch {tmp_path}/shell)").keys()
        environment = eval(found.read_text())
        # Python itself may set LC_CTYPE.
        assert set(environment) - {"LC_CTYPE"} == {"PATH", "LANG", "HOME"}
        assert not (tmp_path / "shell").exists()

    def test_what_it_says_about_an_error_stays_unknown(self, script, caplog):
        program = "import sys; print('canary'); sys.exit('canary: permission denied')"
        with pytest.raises(Sealed, match="ended with status 1") as caught:
            KeyCommand(f"{script(program)} --token=canary").keys()
        assert "canary" not in caught.value.detail + caplog.text

    def test_a_missing_one(self):
        with pytest.raises(Sealed, match="cannot be started"):
            KeyCommand("/nowhere/vault kv get").keys()

    def test_a_hanging_one_ends_with_all_that_it_started(self, script, tmp_path, monkeypatch):
        monkeypatch.setattr(key_sources, "COMMAND_TIMEOUT_SECONDS", 1.0)
        pid_file = tmp_path / "pid"
        program = (
            "import subprocess, time\n"
            f"child = subprocess.Popen(['sleep', '60']); open({str(pid_file)!r}, 'w')"
            ".write(str(child.pid)); time.sleep(60)"
        )
        started_at = time.monotonic()
        with pytest.raises(Sealed, match="did not end within 1 seconds"):
            KeyCommand(script(program)).keys()
        assert time.monotonic() - started_at < 5
        deadline = time.monotonic() + 5
        while is_running(int(pid_file.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_runs_again_at_most_every_five_seconds(self, script, tmp_path, monkeypatch):
        runs = tmp_path / "runs"
        source = KeyCommand(script(f"open({str(runs)!r}, 'a').write('x'); print({ONE!r})"))
        now = [1000.0]
        monkeypatch.setattr(key_sources.time, "monotonic", lambda: now[0])
        source.keys()
        assert not source.refresh()
        assert len(runs.read_text()) == 1
        now[0] += 5.1
        source.keys()
        assert len(runs.read_text()) == 1
        source.refresh()
        assert len(runs.read_text()) == 2
        now[0] += 300.1
        source.keys()
        assert len(runs.read_text()) == 3

    def test_whether_it_has_keys_is_known_without_it(self, script, tmp_path, monkeypatch):
        monkeypatch.setattr(key_sources, "COMMAND_PAUSE_SECONDS", 0.0)
        runs = tmp_path / "runs"
        source = KeyCommand(
            script(f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(60)")
        )
        assert not source.has_keys()
        assert not runs.exists()
        monkeypatch.setattr(key_sources, "COMMAND_TIMEOUT_SECONDS", 5.0)
        hanging = threading.Thread(target=source.refresh)
        hanging.start()
        while hanging.is_alive() and not runs.exists():
            time.sleep(0.01)
        asked_at = time.monotonic()
        assert not source.has_keys()
        assert time.monotonic() - asked_at < 0.5
        hanging.join()
        assert runs.read_text() == "x"
        script(f"print({ONE!r})")
        source.refresh()
        assert source.has_keys()

    def test_keeps_its_keys_while_it_fails(self, script, monkeypatch):
        command = script(f"print({ONE!r})")
        source = KeyCommand(command)
        source.keys()
        script("raise SystemExit(3)")
        monkeypatch.setattr(key_sources, "COMMAND_PAUSE_SECONDS", 0.0)
        assert not source.refresh()
        assert source.keys() == (ONE,)
        script(f"print({TWO!r})")
        assert source.refresh()
        assert source.keys() == (TWO,)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_this_file_has_a_mode_that_a_key_file_may_not_have():
    assert stat.S_IMODE(Path(__file__).stat().st_mode) & 0o077
