"""A real SMTP server of the tests: it keeps what it is given, and speaks TLS and sign-in."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fixtures.ports import free_port

USER, PASSWORD = "mailer", "p@ss/w:rd"
REFUSED = "refused@example.com"


@dataclass
class Mailbox:
    """What the server was given.

    Attributes:
        port: Where it listens, on every address of this machine that `host` names.
        envelopes: As the protocol had them.
        is_down: Whether it refuses every mail.
    """

    port: int
    envelopes: list[Envelope] = field(default_factory=list)
    is_down: bool = False
    was_encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address == REFUSED:
            return "550 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.is_down:
            return f"451 try later, {PASSWORD}"
        self.was_encrypted.append(session.ssl is not None)
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(e.content, policy=default_policy) for e in self.envelopes]


@contextmanager
def mail_server(host: str = "127.0.0.1", **options: object) -> Iterator[Mailbox]:
    """Runs a server for the block; `options` are aiosmtpd's."""
    mailbox = Mailbox(free_port())
    controller = Controller(mailbox, hostname=host, port=mailbox.port, **options)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def authenticate(server, session, envelope, mechanism, data):
    fits = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=fits, handled=False)


def certificate(directory: Path, address: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Makes a self-signed certificate: the server's context, and one that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail of the tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
