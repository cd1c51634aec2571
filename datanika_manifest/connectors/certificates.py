"""Checks PEM texts of TLS settings. No message ever repeats what was given."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

MAXIMUM_CERTIFICATES_CHARACTERS = 65_536
MAXIMUM_KEY_CHARACTERS = 16_384
BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def check_certificates(pem: str) -> str:
    """Returns certificates in PEM, without what stands around them.

    Args:
        pem: One certificate or several.

    Raises:
        ValueError: It is something else.
    """
    if "PRIVATE KEY" in pem:
        raise ValueError("must hold certificates only: it has a private key")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError(
            f"must be certificates in PEM, each beginning with {BEGIN_CERTIFICATE}"
        ) from None
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)


def check_key(pem: str, certificate_pem: str) -> str:
    """Returns a private key that belongs to the first of some certificates.

    Args:
        pem: The key, without a passphrase.
        certificate_pem: Certificates that have been checked.

    Raises:
        ValueError: The key cannot be read, is encrypted, or belongs to another certificate.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    if _public(_load(pem)) != _public(certificate):
        raise ValueError("does not belong to ssl_client_certificate")
    return pem


def _load(pem: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("must not be encrypted: give the key without its passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("must be a private key in PEM") from None


def _public(holder: PrivateKeyTypes | x509.Certificate) -> bytes:
    return holder.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
