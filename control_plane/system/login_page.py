"""The plain pages on which a person signs in and out, and where they may lead."""

from html import escape
from urllib.parse import SplitResult, quote, urlsplit

from control_plane.access.captcha.service import Captcha, CaptchaAction
from control_plane.access.oauth.registry import SignInProviders
from control_plane.access.same_site import origin_of_url
from control_plane.access.session_cookie import needs_tls
from control_plane.core.pages import Page, new_nonce
from control_plane.settings import Settings

LOGIN_FORM = """<form method="post" id="login">
<label>E-mail <input name="email" type="email" autocomplete="username" required autofocus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" required></label>
<input type="hidden" name="next" value="{next}"><button>Sign in</button></form>"""
PROVIDER_LINK = '<p><a href="/api/auth/login/{name}{query}">Sign in with {title}</a>'
NEEDS_TLS = (
    "Open this page by https: over plain http browsers do not keep you signed in, and others can read "
    "your password. Whoever runs this platform puts a proxy with TLS before it and sets "
    "DATANIKA_PUBLIC_URL to its https:// address."
)
FORGOTTEN_LINK = '<p><a href="/forgotten-password">Forgot your password?</a>'
# reCAPTCHA v3: https://developers.google.com/recaptcha/docs/v3
CAPTCHA_SCRIPT = """<script nonce="{nonce}" src="{origin}/recaptcha/api.js?render={site_key}"></script>
<script nonce="{nonce}">
const form = document.getElementById("login");
form.addEventListener("submit", (event) => {{
  event.preventDefault();
  grecaptcha.ready(() => grecaptcha.execute("{site_key}", {{action: "{action}"}}).then((token) => {{
    const field = document.createElement("input");
    field.type = "hidden"; field.name = "captcha_token"; field.value = token;
    form.append(field); form.submit();
  }}));
}});
</script>"""
# https://developers.google.com/recaptcha/docs/faq: what its own policy needs.
CAPTCHA_STATIC = "https://www.gstatic.com/recaptcha/"
LOGOUT_FORM = '<form method="post"><p>Sign out of Datanika?</p><button>Sign out</button></form>'


def login_page(
    settings: Settings,
    captcha: Captcha,
    providers: SignInProviders,
    next_url: str | None,
    alert: str | None = None,
) -> Page:
    """Returns the login page.

    Args:
        settings: The platform's URLs, and whether it sends mail.
        captcha: Adds its script where it is on.
        providers: Those that are configured.
        next_url: Where to go afterwards; has passed `safe_next`.
        alert: Why the last attempt was refused.
    """
    nonce = new_nonce()
    form = LOGIN_FORM.format(next=escape(next_url or "", quote=True))
    parts = [form, *_provider_links(providers, next_url)]
    if settings.smtp_url is not None:
        parts.append(FORGOTTEN_LINK)
    if captcha.site_key is not None:
        parts.append(_captcha_script(captcha, captcha.site_key, nonce))
    return Page(
        body="\n".join(parts),
        alert=" ".join(filter(None, (alert, NEEDS_TLS if needs_tls(settings) else None))),
        form_targets=(origin_of_url(settings.dagster_public_url),),
        sources=_captcha_sources(captcha, nonce) if captcha.site_key else {},
        nonce=nonce,
    )


def logout_page() -> Page:
    """Returns the page that asks whether to sign out: a link alone must not."""
    return Page(body=LOGOUT_FORM)


def safe_next(next_url: str | None, dagster_url: str) -> str | None:
    """Returns where a person wants to go after signing in: inside the Dagster UI, or nowhere.

    Args:
        next_url: What the request asked for.
        dagster_url: The public URL of the Dagster UI.
    """
    if not next_url or "\\" in next_url or not next_url.isprintable():
        return None
    wanted, allowed = _split(next_url), urlsplit(dagster_url)
    if wanted is None:
        return None
    same_origin = (wanted.scheme, wanted.netloc) == (allowed.scheme, allowed.netloc)
    if same_origin and f"{wanted.path}/".startswith(f"{allowed.path}/"):
        return next_url
    return None


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _provider_links(providers: SignInProviders, next_url: str | None) -> list[str]:
    query = f"?return_to={quote(next_url, safe='')}" if next_url else ""
    return [
        PROVIDER_LINK.format(name=name, title=title, query=query)
        for name, title in providers.titles().items()
    ]


def _captcha_script(captcha: Captcha, site_key: str, nonce: str) -> str:
    return CAPTCHA_SCRIPT.format(
        nonce=nonce,
        origin=escape(captcha.script_origin, quote=True),
        site_key=quote(site_key, safe=""),
        action=CaptchaAction.LOGIN,
    )


def _captcha_sources(captcha: Captcha, nonce: str) -> dict[str, str]:
    own = f"{captcha.script_origin}/recaptcha/"
    return {
        "script-src": f"'nonce-{nonce}' {own} {CAPTCHA_STATIC}",
        "frame-src": f"{own} https://recaptcha.google.com/recaptcha/",
        "connect-src": own,
        "img-src": CAPTCHA_STATIC,
    }
