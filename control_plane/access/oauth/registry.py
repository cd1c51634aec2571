"""The providers that the settings configure."""

from collections.abc import Iterator
from typing import Annotated, cast

from fastapi import Depends, Request

from control_plane.access.oauth.code_flow import ClientRegistration
from control_plane.access.oauth.github import GitHubProvider
from control_plane.access.oauth.google import GoogleProvider
from control_plane.access.oauth.providers import ProviderName, SignInProvider
from control_plane.core.errors import NotFound
from control_plane.settings import Settings

CALLBACK_PATH = "/api/auth/callback"


class SignInProviders:
    """A provider is there when both its client id and its secret are set.

    Args:
        settings: With the registrations.
    """

    def __init__(self, settings: Settings) -> None:
        self._providers = {provider.name.value: provider for provider in _configured(settings)}

    def names(self) -> list[str]:
        """Returns the names of the configured providers."""
        return list(self._providers)

    def titles(self) -> dict[str, str]:
        """Returns what people call each configured provider, by its name."""
        return {name: provider.title for name, provider in self._providers.items()}

    def get(self, name: str) -> SignInProvider:
        """Returns a provider.

        Raises:
            NotFound: It is not known, or not configured.
        """
        if name not in self._providers:
            configured = ", ".join(self._providers) or "none"
            raise NotFound(f"Sign-in by this provider is not set up; configured: {configured}.")
        return self._providers[name]

    def close(self) -> None:
        """Closes all connections."""
        for provider in self._providers.values():
            provider.close()


async def get_providers(request: Request) -> SignInProviders:
    """Returns the application's providers."""
    return cast("SignInProviders", request.app.state.sign_in_providers)


ProvidersDep = Annotated[SignInProviders, Depends(get_providers)]


def _configured(settings: Settings) -> Iterator[SignInProvider]:
    def redirect_uri(name: ProviderName) -> str:
        return f"{settings.public_url.rstrip('/')}{CALLBACK_PATH}/{name}"

    if settings.google_client_id and settings.google_client_secret:
        yield GoogleProvider(
            settings.google_issuer,
            ClientRegistration(
                settings.google_client_id,
                settings.google_client_secret,
                redirect_uri(ProviderName.GOOGLE),
            ),
        )
    if settings.github_client_id and settings.github_client_secret:
        yield GitHubProvider(
            settings.github_url,
            settings.github_api_url,
            ClientRegistration(
                settings.github_client_id,
                settings.github_client_secret,
                redirect_uri(ProviderName.GITHUB),
            ),
        )
