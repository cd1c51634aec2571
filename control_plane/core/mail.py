"""Sends the platform's own mails over SMTP (RFC 5321); knows nobody's reason to send one.

Who calls it does so after the commit: a mail cannot be taken back, a transaction can.
"""

import ipaddress
import logging
import smtplib
import ssl
import threading
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, make_msgid, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from control_plane.core.clock import utc_now
from control_plane.core.errors import Invalid, Throttled, Upstream
from control_plane.core.trust import system_authorities

TIMEOUT_SECONDS = 10.0
# Fewer than the server's threads (40): a mail server that hangs leaves the rest for other requests.
PARALLEL_MAILS = 8
RETRY_AFTER_SECONDS = 10
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
logger = logging.getLogger(__name__)


class Mailer:
    """A mail server and the address that the platform sends from.

    `smtp://` asks for STARTTLS and refuses a server without it, unless the server is on this very
    machine; `smtps://` is TLS from the start. Certificates are verified.

    Args:
        url: `smtp://user:password@host:587` or `smtps://…`; None where no mail can be sent.
        sender: The address in `From`, with or without a name.
        tls: What verifies the server's certificate; the system's authorities by default.

    Raises:
        ValueError: The URL is no such URL, or the sender no address. The URL is not shown.
    """

    def __init__(self, url: str | None, sender: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = None if url is None else _server(url)
        self._sender = sender
        self._sender_domain = _address(parseaddr(sender)[1]).domain
        self._tls = tls or system_authorities()
        self._places = threading.BoundedSemaphore(PARALLEL_MAILS)

    def __repr__(self) -> str:
        return "Mailer(***)"

    @property
    def is_configured(self) -> bool:
        """Whether there is a mail server at all."""
        return self._server is not None

    def send(self, to: str, subject: str, text: str) -> None:
        """Hands one mail to the server.

        Args:
            to: One address.
            subject: One line; line breaks and other control characters become blanks.
            text: The body.

        Raises:
            Invalid: `to` is not exactly one address.
            Upstream: No server is set, or it cannot be reached, or it refuses the mail.
            Throttled: Too many mails are on their way; nothing was sent.
        """
        message = self._message(to, subject, text)
        if self._server is None:
            raise Upstream("No mail can be sent: DATANIKA_SMTP_URL is not set.")
        if not self._places.acquire(blocking=False):
            raise Throttled(
                "Too many mails are on their way; try again in a moment.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        try:
            self._hand_over(self._server, message)
        except (smtplib.SMTPException, OSError) as error:
            # The server's own words could repeat what it was sent: only their kind is told.
            reason = _reason(error)
            logger.warning("a mail was not sent: %s", reason)
            raise Upstream(f"The mail server did not take the mail: {reason}.") from None
        finally:
            self._places.release()

    def _hand_over(self, server: SplitResult, message: EmailMessage) -> None:
        with self._connect(server) as smtp:
            if server.username is not None:
                smtp.login(unquote(server.username), unquote(server.password or ""))
            smtp.send_message(message)

    def _message(self, to: str, subject: str, text: str) -> EmailMessage:
        try:
            recipient = _address(to)
        except ValueError:
            raise Invalid.field("/email", "is not an e-mail address") from None
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = _one_line(subject)
        message["Date"] = format_datetime(utc_now())
        message["Message-ID"] = make_msgid(domain=self._sender_domain)
        # RFC 3834: nobody's holiday notice answers it.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    def _connect(self, server: SplitResult) -> smtplib.SMTP:
        host = server.hostname or ""
        port = server.port or DEFAULT_PORTS[server.scheme]
        # Without a name of its own, smtplib asks the DNS for this machine's, which can take long.
        name = self._sender_domain
        if server.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, name, timeout=TIMEOUT_SECONDS, context=self._tls)
        smtp = smtplib.SMTP(host, port, name, timeout=TIMEOUT_SECONDS)
        if not _is_loopback(host):
            try:
                smtp.starttls(context=self._tls)
            except (smtplib.SMTPException, OSError):
                smtp.close()
                raise
        return smtp


def _server(url: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("DATANIKA_SMTP_URL must be smtp://host:port or smtps://host:port")
    if not unquote(f"{parts.username}{parts.password}").isascii():
        # smtplib would fail with an error that shows them.
        raise ValueError("user name and password of DATANIKA_SMTP_URL must be ASCII")
    return parts


def _address(text: str) -> Address:
    """Returns an address; anything after it, such as a second one, is refused."""
    try:
        address = Address(addr_spec=text)
    except (HeaderParseError, IndexError):
        raise ValueError("is not an e-mail address") from None
    if not address.domain or any(ord(character) < 32 for character in text):
        raise ValueError("is not an e-mail address")
    return address


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return f"the recipient was refused ({', '.join(map(str, codes))})"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"user name or password were refused ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "it does not offer what is needed (STARTTLS, sign-in or international addresses)"
    if isinstance(error, ssl.SSLError):
        return "its certificate or its TLS is not acceptable"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {TIMEOUT_SECONDS:.0f} seconds"
    return "it could not be reached, or the connection broke"
