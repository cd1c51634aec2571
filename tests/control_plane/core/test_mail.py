import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from control_plane.core.errors import DatanikaError, Invalid, Upstream
from control_plane.core.mail import Mailer
from tests.control_plane.core.mail_server import (
    PASSWORD,
    REFUSED,
    USER,
    authenticate,
    certificate,
    mail_server,
)
from tests.fixtures.ports import free_port

# This machine too, but not a loopback address by its number: TLS is demanded there.
ELSEWHERE = "0.0.0.0"
CREDENTIALS = f"{USER}:{quote(PASSWORD, safe='')}"


def test_a_mail_arrives():
    with mail_server() as mailbox:
        mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "Datanika <platform@example.com>")
        mailer.send("ann@example.com", "Zürich", "Grüße\n\n.\nhttps://example.com/#token=x")
    (message,) = mailbox.messages
    assert mailer.is_configured
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.com"]
    assert mailbox.envelopes[0].mail_from == "platform@example.com"
    assert message["Subject"] == "Zürich"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.com>")
    assert message.get_content().replace("\r\n", "\n") == (
        "Grüße\n\n.\nhttps://example.com/#token=x\n"
    )


def test_a_line_break_in_the_subject_adds_no_header():
    with mail_server() as mailbox:
        Mailer(f"smtp://127.0.0.1:{mailbox.port}", "platform@example.com").send(
            "ann@example.com", "Acme\r\nBcc: eve@example.com\x85X\u2028Y", "text"
        )
    (message,) = mailbox.messages
    assert message["Subject"] == "Acme Bcc: eve@example.com X Y"
    assert message["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.com"]


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com, eve@example.com",
        "ann@example.com> SIZE=1",
        "ann",
        "",
        "@",
    ],
)
def test_only_one_address_is_an_address(address: str):
    with mail_server() as mailbox:
        mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "platform@example.com")
        with pytest.raises(Invalid):
            mailer.send(address, "s", "t")
    assert mailbox.envelopes == []


class TestTls:
    def test_starttls_and_sign_in(self, tmp_path):
        served, trusting = certificate(tmp_path, ELSEWHERE)
        options = {"tls_context": served, "auth_required": True, "authenticator": authenticate}
        with mail_server(ELSEWHERE, **options) as mailbox:
            url = f"smtp://{CREDENTIALS}@{ELSEWHERE}:{mailbox.port}"
            Mailer(url, "platform@example.com", tls=trusting).send("ann@example.com", "s", "t")
        assert mailbox.was_encrypted == [True]

    def test_a_server_without_tls_is_not_told_the_password(self):
        with mail_server(ELSEWHERE, auth_require_tls=False, authenticator=authenticate) as mailbox:
            mailer = Mailer(
                f"smtp://{CREDENTIALS}@{ELSEWHERE}:{mailbox.port}", "platform@example.com"
            )
            with pytest.raises(Upstream, match="STARTTLS"):
                mailer.send("ann@example.com", "s", "t")
        assert mailbox.envelopes == []

    def test_a_certificate_that_nobody_vouches_for(self, tmp_path):
        served, _ = certificate(tmp_path, ELSEWHERE)
        with mail_server(ELSEWHERE, tls_context=served) as mailbox:
            mailer = Mailer(f"smtp://{ELSEWHERE}:{mailbox.port}", "platform@example.com")
            with pytest.raises(Upstream, match="certificate"):
                mailer.send("ann@example.com", "s", "t")

    def test_a_certificate_of_another_host(self, tmp_path):
        served, trusting = certificate(tmp_path, "192.0.2.1")
        with mail_server(ELSEWHERE, tls_context=served) as mailbox:
            mailer = Mailer(
                f"smtp://{ELSEWHERE}:{mailbox.port}", "platform@example.com", tls=trusting
            )
            with pytest.raises(Upstream, match="certificate"):
                mailer.send("ann@example.com", "s", "t")

    def test_tls_from_the_start(self, tmp_path):
        served, trusting = certificate(tmp_path, "127.0.0.1")
        with mail_server(ssl_context=served) as mailbox:
            Mailer(f"smtps://127.0.0.1:{mailbox.port}", "platform@example.com", tls=trusting).send(
                "ann@example.com", "s", "t"
            )
        assert len(mailbox.envelopes) == 1


class TestFailures:
    def test_none_is_set(self):
        mailer = Mailer(None, "platform@example.com")
        assert not mailer.is_configured
        with pytest.raises(Upstream, match="DATANIKA_SMTP_URL"):
            mailer.send("ann@example.com", "s", "t")

    def test_nobody_listens(self):
        mailer = Mailer(f"smtp://127.0.0.1:{free_port()}", "platform@example.com")
        with pytest.raises(Upstream, match="could not be reached"):
            mailer.send("ann@example.com", "s", "t")

    def test_a_wrong_password(self):
        options = {"auth_require_tls": False, "authenticator": authenticate}
        with mail_server(**options) as mailbox:
            url = f"smtp://{USER}:not-the-one@127.0.0.1:{mailbox.port}"
            with pytest.raises(Upstream, match="refused") as caught:
                Mailer(url, "platform@example.com").send("ann@example.com", "s", "t")
        assert "not-the-one" not in caught.value.detail
        assert USER not in caught.value.detail

    def test_a_recipient_that_the_server_does_not_know(self):
        with mail_server() as mailbox:
            mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "platform@example.com")
            with pytest.raises(Upstream, match="550"):
                mailer.send(REFUSED, "s", "t")

    def test_a_server_that_hangs_holds_few_threads(self, monkeypatch):
        monkeypatch.setattr("control_plane.core.mail.TIMEOUT_SECONDS", 1.0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            mailer = Mailer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", "platform@example.com")

            def send(_: int) -> str:
                with pytest.raises(DatanikaError) as caught:
                    mailer.send("ann@example.com", "s", "t")
                return caught.value.code

            with ThreadPoolExecutor(12) as pool:
                codes = list(pool.map(send, range(12)))
        assert sorted(codes) == ["throttled"] * 4 + ["upstream"] * 8

    def test_the_server_s_words_are_not_repeated(self, caplog):
        with mail_server() as mailbox:
            mailbox.is_down = True
            mailer = Mailer(f"smtp://127.0.0.1:{mailbox.port}", "platform@example.com")
            with pytest.raises(Upstream, match="451") as caught:
                mailer.send("ann@example.com", "s", "t")
        assert PASSWORD not in caught.value.detail + caplog.text
        assert PASSWORD not in repr(mailer)


@pytest.mark.parametrize("url", ["http://mail", "smtp://", "smtp://mail:99999", "mail.example.com"])
def test_a_url_that_is_none_is_refused_at_the_start(url: str):
    with pytest.raises(ValueError, match="DATANIKA_SMTP_URL must be"):
        Mailer(url, "platform@example.com")


def test_credentials_that_smtp_cannot_send_are_refused_at_the_start():
    with pytest.raises(ValueError, match="must be ASCII") as caught:
        Mailer("smtp://mailer:geh%C3%A9im@mail.example.com", "platform@example.com")
    assert "geh" not in str(caught.value)
