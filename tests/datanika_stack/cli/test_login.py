"""Sign-up, login, renewal and logout, against a served control plane."""

import json
import stat
from pathlib import Path

from datanika_stack.layout import Home
from datanika_stack.state import StackState, SupervisorLock
from tests.datanika_stack.cli.conftest import PASSWORD

NOBODY = "http://127.0.0.1:9"


def logins_file(command):
    return next(Path(command.environment["XDG_CONFIG_HOME"]).rglob("logins.json"))


def test_sign_up_logs_in(command):
    me = command.json("whoami")
    assert me["user"]["email"] == command.email
    assert [org["slug"] for org in me["orgs"]] == [command.org]
    assert command.json("org", "get")["slug"] == command.org
    assert command.json("org", "list")[0]["role"] == "owner"


def test_tokens_are_private_and_the_password_is_nowhere(command):
    path = logins_file(command)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()


def test_login_chooses_the_only_org(command, make_command):
    other = make_command()
    options = ["--email", command.email, "--password-stdin"]
    answer = other.json("login", *options, stdin=f"{PASSWORD}\n")
    assert answer["org"] == command.org
    assert "token" not in json.dumps(answer)
    assert other.json("org", "get")["slug"] == command.org


def test_login_with_several_orgs_takes_the_one_that_the_server_names(command, make_command):
    guest, other = make_command(), make_command()
    email = f"guest-of-{command.email}"
    own = guest.json(
        *("org", "create", "--name", "Own", "--email", email, "--password-stdin"),
        stdin=f"{PASSWORD}\n",
    )
    link = command.json("invitation", "create", email)["link"]
    guest.run("invitation", "accept", "--token-stdin", stdin=f"{link}\n")
    options = ["--email", email, "--password-stdin"]
    answer = other.json("login", *options, stdin=f"{PASSWORD}\n")
    assert set(answer["orgs"]) == {own["slug"], command.org}
    assert answer["org"] == other.json("whoami")["current_org"]
    assert other.json("org", "get")["slug"] == answer["org"]


def test_wrong_password(command):
    options = ["--email", command.email, "--password-stdin"]
    error = command.error("login", *options, stdin="wrong password\n")
    assert error["status"] == 401
    assert "wrong password" not in json.dumps(error)
    assert f"`datanika password forgotten {command.email}`" in error["detail"]


def expire(command):
    """Makes the stored login one whose access token has expired."""
    path = logins_file(command)
    content = json.loads(path.read_text())
    for login in content["logins"].values():
        login["access_token"] = "expired"
    path.write_text(json.dumps(content))
    return path


def test_an_expired_login_is_renewed_and_kept(command):
    path = expire(command)
    assert command.json("whoami")["user"]["email"] == command.email
    kept = json.loads(path.read_text())["logins"]
    assert all(login["access_token"] != "expired" for login in kept.values())
    assert command.json("whoami")["user"]["email"] == command.email


def test_logout_forgets_and_ends_the_login(command):
    stolen = logins_file(command).read_text()
    command.run("logout")
    error = command.error("whoami", exit_code=2)
    assert "datanika login" in error["detail"]
    logins_file(command).write_text(stolen)
    refresh = command.error("whoami")
    assert refresh["status"] == 401


def test_not_logged_in(make_command):
    assert "Not logged in" in make_command().error("whoami", exit_code=2)["detail"]


def test_nobody_there(make_command):
    command = make_command()
    command.environment["DATANIKA_API_URL"] = "http://127.0.0.1:9"
    options = ["--email", "a@example.com", "--password-stdin"]
    assert command.error("login", *options, stdin="x\n")["code"] == "client.unreachable"
    assert "Cannot reach" in command.run("login", *options, stdin="x\n", exit_code=1).stderr


def test_the_url_of_a_local_stack_is_found(command, tmp_path):
    url = command.environment.pop("DATANIKA_API_URL")
    home = make_home(tmp_path / "stack", url)
    assert command.json("whoami", "--home", str(home))["user"]["email"] == command.email


class TestALocalStackAndALoginElsewhere:
    def test_a_stopped_stack_does_not_come_before_the_login(self, command, tmp_path):
        del command.environment["DATANIKA_API_URL"]
        home = make_home(tmp_path / "stack", NOBODY)
        command.environment["DATANIKA_HOME"] = str(home)
        assert command.json("whoami")["user"]["email"] == command.email

    def test_a_running_stack_does(self, command, tmp_path):
        del command.environment["DATANIKA_API_URL"]
        home = make_home(tmp_path / "stack", NOBODY)
        command.environment["DATANIKA_HOME"] = str(home)
        lock = SupervisorLock(Home.at(home))
        assert lock.acquire()
        try:
            assert NOBODY in command.error("whoami", exit_code=2)["detail"]
        finally:
            lock.release()

    def test_a_named_home_does(self, command, tmp_path):
        del command.environment["DATANIKA_API_URL"]
        home = make_home(tmp_path / "stack", NOBODY)
        assert NOBODY in command.error("whoami", "--home", str(home), exit_code=2)["detail"]

    def test_a_stopped_stack_is_better_than_nothing(self, make_command, tmp_path):
        stranger = make_command()
        del stranger.environment["DATANIKA_API_URL"]
        stranger.environment["DATANIKA_HOME"] = str(make_home(tmp_path / "stack", NOBODY))
        assert NOBODY in stranger.error("whoami", exit_code=2)["detail"]


def make_home(path, api_url):
    """Makes a home as a supervisor leaves it behind."""
    path.mkdir()
    state = StackState(
        pid=1,
        created_at=0.0,
        started_at="2026-01-01T00:00:00+00:00",
        state="running",
        phase="",
        port=9,
        host="127.0.0.1",
        api_url=api_url,
        dagster_url=api_url,
        database_url="",
    )
    state.write(Home.at(path))
    return path
