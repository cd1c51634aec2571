"""What commands ask a person at a terminal, and what they need not ask."""

from tests.datanika_stack.cli.conftest import PASSWORD
from tests.datanika_stack.cli.terminal import converse

INVITATION = "Invitation link or token: "
NEW = ("New password: ", PASSWORD)
AGAIN = ("Repeat for confirmation: ", PASSWORD)


def invite(command, email):
    return command.json("invitation", "create", email, "--role", "viewer")["link"]


def test_somebody_new_says_the_password_twice(command, make_command):
    guest = make_command()
    email = f"guest-of-{command.email}"
    answers = [(INVITATION, invite(command, email)), NEW, AGAIN]
    done = converse(guest.environment, ["invitation", "accept"], answers)
    assert done.exit_code == 0, done.screen
    assert PASSWORD not in done.screen
    assert guest.json("whoami")["user"]["email"] == email


def test_whoever_is_logged_in_is_asked_for_no_password(command, make_command):
    guest = make_command()
    email = f"guest-of-{command.email}"
    options = ["--token-stdin", "--password-stdin"]
    guest.run("invitation", "accept", *options, stdin=f"{invite(command, email)}\n{PASSWORD}\n")
    command.run("member", "remove", email)
    link = invite(command, email)
    done = converse(guest.environment, ["invitation", "accept"], [(INVITATION, link)])
    assert done.exit_code == 0, done.screen
    assert guest.json("org", "get")["slug"] == command.org


def test_who_has_an_account_is_asked_for_the_password_and_told_where_it_goes(command, make_command):
    other = make_command()
    options = ["--name", "Other", "--email", f"other-{command.email}", "--password-stdin"]
    other.run("org", "create", *options, stdin=f"{PASSWORD}\n")
    stranger = make_command()
    prompt = f"Password for other-{command.email} at {command.environment['DATANIKA_API_URL']}: "
    answers = [(INVITATION, invite(command, f"other-{command.email}")), (prompt, PASSWORD)]
    # Also with a login of somebody else.
    stranger.run(*("login", "--email", command.email, "--password-stdin"), stdin=f"{PASSWORD}\n")
    done = converse(stranger.environment, ["invitation", "accept"], answers)
    assert done.exit_code == 0, done.screen
    assert stranger.json("whoami")["user"]["email"] == f"other-{command.email}"


def test_sign_up_asks_twice(make_command):
    arguments = ["org", "create", "--name", "Twice", "--email", "twice@example.com"]
    typo = ("Repeat for confirmation: ", "a typo")
    done = converse(make_command().environment, arguments, [NEW, typo, NEW, AGAIN])
    assert done.exit_code == 0, done.screen
    assert "do not match" in done.screen


class TestAskingBack:
    def test_sealing(self, command):
        done = converse(command.environment, ["seal"], [("[y/N]: ", "n")])
        assert (done.exit_code, "forbidden" in done.screen) == (1, False)
        done = converse(command.environment, ["seal"], [("[y/N]: ", "y")])
        assert (done.exit_code, "forbidden" in done.screen) == (1, True)
        done = converse(command.environment, ["seal", "--yes"], [])
        assert (done.exit_code, "forbidden" in done.screen) == (1, True)

    def test_destroying_an_org_s_keys(self, command):
        arguments = ["org", "delete", command.org, "--destroy-keys"]
        done = converse(command.environment, arguments, [("[y/N]: ", "n")])
        assert done.exit_code == 1
        assert command.json("org", "get")["slug"] == command.org
        done = converse(command.environment, [*arguments, "--yes"], [])
        assert done.exit_code == 0, done.screen
        assert command.error("org", "get")["status"] == 404
