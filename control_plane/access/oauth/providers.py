"""What every provider of sign-in has in common."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from control_plane.access.oauth.code_flow import Challenge


class ProviderName(StrEnum):
    """The providers, as URLs and `oauth_identities.provider` name them."""

    GOOGLE = "google"
    GITHUB = "github"


@dataclass(frozen=True)
class Callback:
    """What the browser brought back from a provider.

    Attributes:
        code: For the provider's token endpoint.
        issuer: Who says so (RFC 9207), where the provider names itself.
    """

    code: str
    issuer: str | None = None


@dataclass(frozen=True)
class ProviderAccount:
    """A person's account at a provider.

    Attributes:
        provider: Which one.
        subject: The provider's own immutable id of the account.
        email: The account's address.
        is_email_verified: Whether the provider vouches for it.
        name: What the person is called there.
    """

    provider: ProviderName
    subject: str
    email: str | None
    is_email_verified: bool
    name: str | None


class SignInProvider(Protocol):
    """One configured provider."""

    name: ProviderName
    title: str

    def authorization_url(self, challenge: Challenge) -> str:
        """Returns where the browser goes to sign in."""
        ...

    def fetch_account(self, callback: Callback, challenge: Challenge) -> ProviderAccount:
        """Returns whose account it is."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...
