"""What every API command shares: which control plane, who calls, and which org."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datanika_stack.api_client import ApiClient, Tokens
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.links import is_private, origin_of, parse_link
from datanika_stack.cli.logins import Login, LoginFile
from datanika_stack.layout import Home
from datanika_stack.settings import ClientSettings
from datanika_stack.state import is_supervised, read_state

DEFAULT_API_URL = "http://127.0.0.1:8700"


@dataclass(frozen=True)
class Common:
    """The options that each API command has.

    Attributes:
        org: Slug of the org to work on.
        api_url: The control plane.
        home: Home of a local stack whose control plane is meant.
        as_json: Whether the output is for a program.
    """

    org: str | None
    api_url: str | None
    home: Path | None
    as_json: bool


class Session:
    """One command's way to the API; connects and looks things up only when needed."""

    def __init__(self, common: Common, settings: ClientSettings, logins: LoginFile) -> None:
        self._common = common
        self._settings = settings
        self.logins = logins
        self.as_json = common.as_json

    @cached_property
    def api_url(self) -> str:
        """The control plane: option, environment, a stack of this machine, the last login.

        A stack counts where `--home` names it or where it runs: one that is stopped must not
        come before a login elsewhere.
        """
        home = Home.at(self._common.home or self._settings.home)
        state = read_state(home)
        url = (
            self._given_url
            or (state.api_url if state and is_supervised(home) else None)
            or self.logins.latest_url()
            or (state.api_url if state else None)
            or DEFAULT_API_URL
        )
        return url.rstrip("/")

    @cached_property
    def _given_url(self) -> str | None:
        """The control plane that the command itself names: `--api-url`, `--home`."""
        if self._common.api_url or self._common.home is None:
            return self._common.api_url
        state = read_state(Home.at(self._common.home))
        return state.api_url if state else None

    def open_link(self, text: str) -> str:
        """Returns the token of a one-time link and goes to where the link leads.

        What comes with the token (a password) must not go anywhere else: another control plane
        could redeem the token with it. Comes before anything is asked of the API.

        Raises:
            UsageError: It is no such link, the command names another control plane, or what is
                sent there could be read on the way.
        """
        link = parse_link(text)
        if link.origin is None:
            return link.token
        given = self._given_url
        if given is None:
            if not is_private(link.origin):
                raise UsageError(
                    f"{link.origin} is not encrypted; give --api-url {link.origin} if you mean it."
                )
            self.api_url = link.origin
        elif origin_of(given) != link.origin:
            raise UsageError(
                f"The link leads to {link.origin}, and --api-url (DATANIKA_API_URL, --home) to "
                f"{given}. Leave that out, or give the bare token of the link."
            )
        return link.token

    @cached_property
    def login(self) -> Login | None:
        """The stored login at this control plane."""
        return self.logins.find(self.api_url)

    @cached_property
    def anonymous(self) -> ApiClient:
        """A client without credentials, for login."""
        return ApiClient(self.api_url)

    @cached_property
    def client(self) -> ApiClient:
        """A client with the API key of the environment, else the stored login.

        Raises:
            UsageError: There is neither.
        """
        if self._settings.api_key:
            return ApiClient(
                self.api_url,
                api_key=self._settings.api_key.get_secret_value(),
                api_key_header=self._settings.api_key_header,
            )
        return self.personal

    @cached_property
    def personal(self) -> ApiClient:
        """A client with the stored login, also where the environment has an API key.

        Raises:
            UsageError: There is none.
        """
        if not self.login:
            raise UsageError(
                f"Not logged in at {self.api_url}: run `datanika login` or set DATANIKA_API_KEY."
            )
        return ApiClient(self.api_url, tokens=self.login.tokens(), on_renewal=self._keep)

    @cached_property
    def org(self) -> str:
        """Slug of the org: option, environment, the one chosen at login, the only one.

        Raises:
            UsageError: It is not clear which is meant.
        """
        chosen = self._common.org or (self.login.org if self.login else None)
        if not chosen:
            raise UsageError("Which org? Use --org, DATANIKA_ORG or `datanika org use SLUG`.")
        return chosen

    def path(self, *parts: object) -> str:
        """Returns the path of a resource of the org."""
        return "/".join(["/orgs", self.org, *map(str, parts)])

    def find(self, collection: str, reference: str) -> dict[str, Any]:
        """Returns the resource of `collection` with this id, slug or name.

        Raises:
            UsageError: There is none, or several have the name.
        """
        rows = list(self.client.pages(self.path(collection)))
        found = [row for row in rows if reference in _references(row)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(row["id"]) for row in found)
            raise UsageError(f"Several of {collection} are called '{reference}'; use an id: {ids}.")
        known = ", ".join(_references(row)[-1] for row in rows) or "none"
        raise UsageError(f"No '{reference}' in {collection}; there are: {known}.")

    def find_id(self, collection: str, reference: str | None) -> int | None:
        """Returns the id of what `find` finds, None for None."""
        return None if reference is None else self.find(collection, reference)["id"]

    def close(self) -> None:
        """Closes the clients that were opened."""
        for name in ("client", "personal", "anonymous"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def _keep(self, tokens: Tokens) -> None:
        if self.login:
            renewed = Login(
                self.login.email, tokens.access_token, tokens.refresh_token, self.login.org
            )
            self.logins.save(self.api_url, renewed)


def _references(row: dict[str, Any]) -> list[str]:
    """Returns what a resource can be called by: its id, and its name and slug where it has them."""
    return [str(row[name]) for name in ("id", "name", "slug") if row.get(name) is not None]
