"""People, passwords, sessions, operators and what was deleted, by the command line."""

import json

import pytest

from tests.datanika_stack.cli.conftest import PASSWORD
from tests.datanika_stack.cli.test_login import expire
from tests.datanika_stack.cli.test_resources import create as create_connection
from tests.datanika_stack.cli.test_resources import with_key

NEW_PASSWORD = "another horse battery"


@pytest.fixture
def stranger(make_command):
    return make_command()


def invite(command, email, role="editor"):
    return command.json("invitation", "create", email, "--role", role)


def accept(stranger, link):
    options = ["--token-stdin", "--password-stdin"]
    return stranger.json("invitation", "accept", *options, stdin=f"{link}\n{PASSWORD}\n")


class TestMembers:
    @pytest.fixture
    def colleague(self, command, stranger):
        stranger.email = f"colleague-of-{command.email}"
        joined = accept(stranger, invite(command, stranger.email)["link"])
        assert joined == {"email": stranger.email, "org": command.org, "role": "editor"}
        return stranger

    def test_an_invitation_is_accepted_by_its_link(self, colleague, command):
        assert colleague.json("org", "get")["slug"] == command.org
        rows = command.json("member", "list")
        assert {row["email"]: row["role"] for row in rows} == {
            command.email: "owner",
            colleague.email: "editor",
        }
        assert command.json("invitation", "list") == []

    def test_roles_and_removal(self, colleague, command):
        assert command.json("member", "role", colleague.email, "admin")["role"] == "admin"
        assert colleague.error("member", "role", command.email, "viewer")["status"] == 403
        removed = command.json("member", "remove", colleague.email)
        assert removed == {"removed": colleague.email}
        assert colleague.error("org", "get")["status"] in (401, 404)

    def test_leaving(self, colleague, command):
        assert colleague.json("member", "leave") == {"left": command.org}
        assert command.error("member", "leave")["status"] == 409

    def test_an_unknown_member_lists_the_known_ones(self, command):
        error = command.error("member", "remove", "nobody@example.com", exit_code=2)
        assert command.email in error["detail"]


class TestInvitations:
    def test_renew_and_revoke(self, command, stranger):
        first = invite(command, "guest@example.com")
        second = command.json("invitation", "renew", str(first["id"]))
        assert second["link"] != first["link"]
        assert [row["id"] for row in command.json("invitation", "list")] == [first["id"]]
        command.run("invitation", "revoke", str(first["id"]))
        for link in (first["link"], second["link"]):
            options = ["--token-stdin", "--password-stdin"]
            stdin = f"{link}\n{PASSWORD}\n"
            assert stranger.error("invitation", "accept", *options, stdin=stdin)["status"] >= 400

    def test_somebody_with_an_account_logs_in_with_it(self, command, stranger):
        stranger.email = f"guest-of-{command.email}"
        accept(stranger, invite(command, stranger.email)["link"])
        command.run("member", "remove", stranger.email)
        again = accept(stranger, invite(command, stranger.email, "viewer")["link"])
        assert again == {"email": stranger.email, "org": command.org, "role": "viewer"}
        # Whoever is logged in needs no password.
        command.run("member", "remove", stranger.email)
        link = invite(command, stranger.email, "viewer")["link"]
        joined = stranger.json("invitation", "accept", "--token-stdin", stdin=f"{link}\n")
        assert joined == again

    def test_the_token_is_no_argument(self, command):
        assert command.run("invitation", "accept", "--token", "x", exit_code=2)


class TestOrganization:
    def test_rename(self, command):
        assert command.json("org", "update", "--name", "Better")["name"] == "Better"
        assert command.json("org", "get")["slug"] == command.org

    def test_delete_and_restore(self, operator, make_command):
        assert operator.error("org", "delete", "nobody_has_this")["status"] == 404
        answer = operator.json("org", "delete", operator.org)
        assert answer == {"deleted": operator.org, "keys_destroyed": False}
        assert operator.error("org", "get")["status"] == 404
        operator.json("system", "restore", operator.org)
        assert operator.json("org", "get")["slug"] == operator.org


class TestPasswords:
    def log_in(self, command, password):
        options = ["--email", command.email, "--password-stdin"]
        return command.run("login", *options, stdin=f"{password}\n", exit_code=0)

    def test_change_by_standard_input(self, command, stranger):
        passwords = f"{PASSWORD}\n{NEW_PASSWORD}\n"
        done = command.run("password", "change", "--password-stdin", stdin=passwords)
        assert NEW_PASSWORD not in done.output
        stranger.email = command.email
        self.log_in(stranger, NEW_PASSWORD)

    def test_change_by_files(self, command, stranger, tmp_path):
        for name, text in (("current", PASSWORD), ("new", NEW_PASSWORD)):
            (tmp_path / name).write_text(f"{text}\n")
        options = ["--current-password-file", str(tmp_path / "current")]
        command.run("password", "change", *options, "--new-password-file", str(tmp_path / "new"))
        stranger.email = command.email
        self.log_in(stranger, NEW_PASSWORD)

    def test_the_wrong_one_is_refused(self, command):
        passwords = f"wrong wrong wrong\n{NEW_PASSWORD}\n"
        error = command.error("password", "change", "--password-stdin", stdin=passwords)
        assert error["status"] in (401, 403, 422)
        assert NEW_PASSWORD not in json.dumps(error)

    def test_an_operator_s_link_lets_a_user_back_in(self, operator, stranger):
        link = operator.json("password", "reset-link", operator.email)["link"]
        options = ["--token-stdin", "--password-stdin"]
        stranger.run("password", "reset", *options, stdin=f"{link}\n{NEW_PASSWORD}\n")
        stranger.email = operator.email
        self.log_in(stranger, NEW_PASSWORD)
        assert operator.error("whoami")["status"] == 401, "every session has ended"

    def test_asking_tells_nothing_about_who_exists(self, command, stranger):
        known = stranger.json("password", "forgotten", command.email)
        assert known == stranger.json("password", "forgotten", "nobody@example.com")


class TestSessions:
    def test_list_and_end(self, command, make_command):
        elsewhere = make_command()
        options = ["--email", command.email, "--password-stdin"]
        elsewhere.run("login", *options, stdin=f"{PASSWORD}\n")
        rows = command.json("session", "list")
        assert len(rows) == 2
        (other,) = [row["id"] for row in rows if not row["is_current"]]
        command.run("session", "end", str(other))
        assert elsewhere.error("whoami")["status"] == 401
        assert command.json("whoami")["user"]["email"] == command.email

    def test_too_many_wrong_passwords_say_when_to_try_again(self, stranger, live_api):
        stranger.email = "guessed@example.com"
        options = ["--email", stranger.email, "--password-stdin"]
        for _ in range(live_api.settings.failed_logins_per_account):
            assert stranger.error("login", *options, stdin="wrong wrong\n")["status"] == 401
        error = stranger.error("login", *options, stdin="wrong wrong\n")
        assert error["status"] == 429
        assert 0 < error["retry_after_seconds"] <= 900
        text = stranger.run("login", *options, stdin="wrong wrong\n", exit_code=1).stderr
        assert "Try again in" in text


class TestOperators:
    def test_only_operators_may(self, command):
        for arguments in (
            ["operator", "list"],
            ["system", "orgs"],
            ["system", "audit", "list"],
            ["seal"],
        ):
            assert command.error(*arguments)["status"] == 403

    def test_add_and_remove(self, operator, stranger):
        email = f"second-{operator.email}"
        stranger.run(
            "org", "create", "--name", "Second", "--email", email, "--password-stdin",
            stdin=f"{PASSWORD}\n",
        )  # fmt: skip
        made = operator.json("operator", "add", email)
        assert made["email"] == email
        assert "/password-reset#token=dtp_" in made["link"]
        assert operator.json("operator", "add", email)["link"] is None
        assert email in [row["email"] for row in operator.json("operator", "list")]
        assert operator.json("operator", "remove", email) == {"removed": email}
        assert operator.error("operator", "remove", email, exit_code=2)["code"] == "usage"

    def test_suspending_an_org(self, operator, stranger):
        made = operator.json(
            "system", "create-org", "--name", "New", "--owner-email", "n@example.com"
        )
        slug = made["slug"]
        assert made["invitation"]["link"]
        operator.json("system", "suspend", slug)
        assert operator.json("system", "rotate-org", slug)["remaining"] == 0
        operator.json("system", "resume", slug)
        limited = operator.json("system", "quota", slug, "--runs-per-hour", "7")
        assert (limited["parallel_runs"], limited["runs_per_hour"]) == (None, 7)
        assert slug in [row["slug"] for row in operator.json("system", "orgs", "--limit", "10000")]
        actions = [row["action"] for row in operator.json("system", "audit", "list")]
        assert actions
        lines = operator.run("system", "audit", "export").stdout.splitlines()
        assert [json.loads(line)["action"] for line in lines]


class TestKeys:
    def test_status_where_the_environment_has_the_keys(self, operator):
        status = operator.json("keys", "status")
        assert status["provider"] == "environment"
        assert status["state"] == "unsealed"
        assert status["rotation"]["state"] in ("idle", "running")

    def test_a_password_has_no_place_there(self, operator):
        password = f"{NEW_PASSWORD}\n"
        error = operator.error("keys", "set-password", "--password-stdin", stdin=password)
        assert error["status"] == 409
        assert NEW_PASSWORD not in json.dumps(error)

    def test_an_owner_rotates_the_org_s_key(self, command):
        before = create_connection(command)
        answer = command.json("keys", "rotate-org")
        assert answer["remaining"] == 0
        assert answer["progress_command"] == "datanika keys org-rotation-status"
        del answer["progress_command"]
        assert command.json("keys", "org-rotation-status") == answer
        assert command.json("connection", "get", "crm")["secrets_set"] == before["secrets_set"]

    def test_an_operator_rotates_the_platform_s(self, operator):
        answer = operator.json("keys", "rotate")
        assert answer["progress_command"] == "datanika keys rotation-status"
        rotation = operator.json("keys", "rotation-status")
        assert rotation == operator.json("keys", "status")["rotation"]
        assert rotation["requested_by"] == operator.email

    def test_only_operators_see_the_platform_s(self, command):
        assert command.error("keys", "status")["status"] == 403
        stdin = f"{PASSWORD}\n"
        assert command.error("unlock", "--password-stdin", stdin=stdin)["status"] == 403


class TestDeleted:
    def test_list_and_restore(self, command):
        made = create_connection(command)
        command.run("connection", "delete", "crm")
        (row,) = command.json("deleted", "list", "--resource-type", "connection")
        assert (row["resource_type"], row["id"], row["name"]) == ("connection", made["id"], "CRM")
        restored = command.json("deleted", "restore", f"connection:{made['id']}")
        assert restored["slug"] == "crm"
        assert command.json("deleted", "list", "--resource-type", "connection") == []

    def test_what_cannot_be(self, command):
        error = command.error("deleted", "restore", "warehouse:1", exit_code=2)
        assert "connection" in error["detail"]


class TestAuditExport:
    def test_one_object_per_line(self, command):
        create_connection(command)
        lines = command.run("audit", "export").stdout.splitlines()
        rows = [json.loads(line) for line in lines]
        assert {row["resource_type"] for row in rows} >= {"connection", "organization"}
        some = command.run("audit", "export", "--resource-type", "connection").stdout.splitlines()
        assert {json.loads(line)["resource_type"] for line in some} == {"connection"}

    def test_filters_by_time_and_kind(self, command):
        create_connection(command)
        assert command.json("audit", "list", "--since", "2100-01-01T00:00:00Z") == []
        assert command.json("audit", "list", "--actor-kind", "user")

    def test_with_an_api_key(self, command, make_command):
        program = with_key(command, make_command, "audit:read")
        lines = program.run("audit", "export").stdout.splitlines()
        assert "organization" in {json.loads(line)["resource_type"] for line in lines}

    def test_an_expired_login_is_renewed_first(self, command):
        expire(command)
        assert command.run("audit", "export").stdout

    def test_a_refusal_is_an_error(self, command):
        error = command.error("audit", "export", "--org", "nobody_has_this")
        assert error["status"] == 404
