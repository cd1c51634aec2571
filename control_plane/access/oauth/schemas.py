"""What the API takes and gives for a sign-in by a provider."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.access.sign_in.schemas import LoggedIn
from control_plane.settings import SignUpMode


class Exchange(BaseModel):
    """The one-time code that the browser brought to the return URL."""

    model_config = ConfigDict(extra="forbid")

    code: SecretStr = Field(max_length=200, description="Works once, for a minute.")


class SignedInByProvider(LoggedIn):
    """A user, signed in."""

    is_new: bool = Field(description="Whether the account was made by this sign-in.")


class SignInWays(BaseModel):
    """How people can sign in here."""

    providers: list[str] = Field(description="For `/api/auth/login/{provider}`.")
    recaptcha_site_key: str | None = Field(
        description="The site key of reCAPTCHA; null where login and sign-up need no token."
    )
    sign_up: SignUpMode = Field(description="Who may sign up.")
