"""What the API takes and gives for sign-up, sign-in and sessions."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.access.users.email_address import Email

CAPTCHA_TOKEN = Field(
    default=None, description="The page's reCAPTCHA v3 token, where reCAPTCHA is on."
)


class SignUp(BaseModel):
    """A new account and its organization."""

    model_config = ConfigDict(extra="forbid")

    email: Email
    password: SecretStr = Field(description="10 characters at least, 72 bytes at most.")
    org_name: str = Field(min_length=1, max_length=200, description="The organization's name.")
    captcha_token: SecretStr | None = CAPTCHA_TOKEN


class LogIn(BaseModel):
    """Credentials."""

    model_config = ConfigDict(extra="forbid")

    email: Email
    password: SecretStr
    captcha_token: SecretStr | None = CAPTCHA_TOKEN


class Refresh(BaseModel):
    """A refresh token to exchange."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: SecretStr


class UserView(BaseModel):
    """A user, as they see themselves."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    is_platform_operator: bool


class OrgView(BaseModel):
    """An organization."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    slug: str
    name: str


class MemberOrgView(OrgView):
    """An organization and the user's role in it."""

    role: str


class Tokens(BaseModel):
    """A pair of tokens."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105 - the OAuth2 token type
    expires_in_seconds: int


class SignedUp(Tokens):
    """The new account, signed in."""

    user: UserView
    org: OrgView


class LoggedIn(Tokens):
    """A user, signed in."""

    user: UserView
    orgs: list[MemberOrgView]


class Switch(BaseModel):
    """The org to work in."""

    model_config = ConfigDict(extra="forbid")

    org: str = Field(max_length=63, description="Its slug.")


class Me(BaseModel):
    """The signed-in user and their organizations."""

    user: UserView
    orgs: list[MemberOrgView]
    current_org: str | None = Field(
        description="The org that this session works in; null where there is none, or where it is "
        "suspended."
    )
