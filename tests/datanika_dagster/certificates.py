"""Certificates for tests: authorities, servers and clients that are real, and short-lived."""

import datetime
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certified:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Authority:
    """Signs certificates."""

    own: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.own.public_bytes(Encoding.PEM).decode()

    def issue(
        self, name: str, *, names: tuple[str, ...] = (), is_expired: bool = False
    ) -> Certified:
        """Returns a certificate of `name`, valid for these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends_at = datetime.datetime.now(datetime.UTC) + (-DAY if is_expired else DAY)
        builder = (
            _builder(name, key.public_key())
            .issuer_name(self.own.subject)
            .not_valid_before(ends_at - 3 * DAY)
            .not_valid_after(ends_at)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general(one) for one in names])
            builder = builder.add_extension(alternatives, critical=False)
        return Certified(
            builder.sign(self.private, hashes.SHA256()).public_bytes(Encoding.PEM).decode(),
            key_pem(key),
        )


def authority(name: str) -> Authority:
    """Returns an authority that nobody else knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    own = (
        _builder(name, key.public_key())
        .issuer_name(_name(name))
        .not_valid_before(now - 5 * DAY)
        .not_valid_after(now + DAY)
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(own, key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.private_bytes(*form).decode()


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(name)).public_key(public)
    return builder.serial_number(x509.random_serial_number())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
