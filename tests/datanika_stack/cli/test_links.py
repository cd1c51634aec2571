"""One-time links: the token goes to where the link leads, and nowhere else."""

import pytest

from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.links import OneTimeLink, origin_of, parse_link
from datanika_stack.cli.logins import LoginFile
from datanika_stack.cli.session import Common, Session
from datanika_stack.settings import ClientSettings
from tests.datanika_stack.cli.conftest import PASSWORD

NOBODY = "http://127.0.0.1:9"
TOKEN = "dti_1_canary-canary"
ACCEPT = ("invitation", "accept", "--token-stdin", "--password-stdin")
RESET = ("password", "reset", "--token-stdin", "--password-stdin")


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "origin"),
        [
            (TOKEN, None),
            (f"  {TOKEN} ", None),
            (f"https://data.example/invitation#token={TOKEN}", "https://data.example"),
            (f"HTTPS://Data.Example:443/invitation#token={TOKEN}", "https://data.example"),
            (f"https://data.example:8443/x?token={TOKEN}", "https://data.example:8443"),
            (f"http://[::1]:8700/invitation#token={TOKEN}", "http://[::1]:8700"),
        ],
    )
    def test_what_is_taken(self, text, origin):
        assert parse_link(text) == OneTimeLink(TOKEN, origin)

    @pytest.mark.parametrize(
        "text",
        [
            f"ftp://data.example/invitation#token={TOKEN}",
            f"https:///invitation#token={TOKEN}",
            f"https://data.example@evil.example/invitation#token={TOKEN}",
            f"https://data.example\\.evil.example/invitation#token={TOKEN}",
            f"https://data.example:port/invitation#token={TOKEN}",
            f"https://[data.example/invitation#token={TOKEN}",
            f"data.example/invitation#token={TOKEN}",
            f"https:/data.example/invitation#token={TOKEN}",
            "https://data.example/invitation",
        ],
    )
    def test_what_is_refused_and_not_shown(self, text):
        with pytest.raises(UsageError) as caught:
            parse_link(text)
        assert "canary" not in str(caught.value)
        assert "canary" not in repr(OneTimeLink(TOKEN, None))

    def test_the_port_of_the_scheme_is_no_difference(self):
        assert origin_of("https://data.example:443/api") == origin_of("https://DATA.example")
        assert origin_of("http://data.example") != origin_of("https://data.example")


class TestPlainHttp:
    def session(self, tmp_path, api_url=None):
        common = Common(None, api_url, tmp_path / "no-stack", as_json=False)
        return Session(common, ClientSettings(), LoginFile(tmp_path / "logins.json"))

    @pytest.mark.parametrize("host", ["127.0.0.1:8700", "localhost:8700", "[::1]:8700"])
    def test_to_this_machine(self, tmp_path, host):
        session = self.session(tmp_path)
        assert session.open_link(f"http://{host}/invitation#token={TOKEN}") == TOKEN
        assert session.api_url == f"http://{host}"

    def test_elsewhere_only_where_it_is_said(self, tmp_path):
        link = f"http://data.example/invitation#token={TOKEN}"
        with pytest.raises(UsageError, match=r"http://data\.example is not encrypted") as caught:
            self.session(tmp_path).open_link(link)
        assert "canary" not in str(caught.value)
        session = self.session(tmp_path, "http://data.example/")
        assert session.open_link(link) == TOKEN
        assert session.api_url == "http://data.example"


class TestWhereItGoes:
    @pytest.fixture
    def elsewhere(self, make_command):
        """The command of somebody whose last login was at another control plane."""
        made = make_command()
        del made.environment["DATANIKA_API_URL"]
        return made

    @pytest.fixture
    def link(self, command):
        command.guest = f"guest-of-{command.email}"
        return command.json("invitation", "create", command.guest)["link"]

    def test_an_invitation_goes_to_where_it_leads(self, elsewhere, command, link):
        elsewhere.run(*ACCEPT, stdin=f"{link}\n{PASSWORD}\n")
        assert elsewhere.json("whoami")["user"]["email"] == command.guest

    def test_a_new_password_goes_to_where_the_link_leads(self, elsewhere, operator):
        link = operator.json("password", "reset-link", operator.email)["link"]
        assert elsewhere.json(*RESET, stdin=f"{link}\n{PASSWORD}\n") == {"changed": True}

    @pytest.mark.parametrize("arguments", [ACCEPT, RESET])
    def test_two_that_differ_are_both_named(self, elsewhere, live_api, arguments):
        stdin = f"{live_api.url}/invitation#token={TOKEN}\n{PASSWORD}\n"
        error = elsewhere.error(*arguments, "--api-url", NOBODY, stdin=stdin, exit_code=2)
        assert live_api.url in error["detail"]
        assert NOBODY in error["detail"]
        elsewhere.environment["DATANIKA_API_URL"] = NOBODY
        assert elsewhere.error(*arguments, stdin=stdin, exit_code=2) == error
        assert TOKEN not in str(error)

    def test_a_bare_token_goes_to_the_url_that_is_given(self, elsewhere, command, link):
        stdin = f"{link.partition('#token=')[2]}\n{PASSWORD}\n"
        error = elsewhere.error(*ACCEPT, "--api-url", NOBODY, stdin=stdin)
        assert error["code"] == "client.unreachable"
        url = command.environment["DATANIKA_API_URL"]
        elsewhere.run(*ACCEPT, "--api-url", url, stdin=stdin)

    @pytest.mark.parametrize("noun", ["invitation accept", "password reset"])
    def test_the_missing_input_names_its_option(self, command, noun, link):
        assert "--token-stdin" in command.error(*noun.split(), exit_code=2)["detail"]
        stdin = f"{link}\n"
        error = command.error(*noun.split(), "--token-stdin", stdin=stdin, exit_code=2)
        assert "--password-stdin" in error["detail"]
