"""The page of a person who is signed in: who they are, where they belong, and how to go on."""

from collections.abc import Sequence
from html import escape

from control_plane.access.users.models import User
from control_plane.access.users.repository import UserOrg
from control_plane.core.pages import Page
from control_plane.settings import Settings

WHO = "<p>You are signed in as {email}.</p>"
ORG = "<li>{name} (<code>{slug}</code>): {role}{state}</li>"
NO_ORG = "<p>You belong to no organization.</p>"
DAGSTER_LINK = '<p><a href="{url}">Open the Dagster UI</a>{whole}.</p>'
CONSOLE = """<p>There is no console in the browser: organizations are worked with by the
<a href="/docs">REST API</a> and by the <code>datanika</code> command.</p>
<pre><code>datanika login --api-url {url}</code></pre>"""
LOGOUT_FORM = '<form method="post" action="/logout"><button>Sign out</button></form>'


def welcome_page(settings: Settings, user: User, orgs: Sequence[UserOrg]) -> Page:
    """Returns the page.

    Args:
        settings: With the platform's URLs.
        user: Who is signed in.
        orgs: Where they belong.
    """
    parts = [WHO.format(email=escape(user.email)), _org_list(orgs)]
    if user.is_platform_operator or any(not org.is_suspended for org in orgs):
        whole = " of all organizations, as a platform operator" if user.is_platform_operator else ""
        url = escape(settings.dagster_public_url, quote=True)
        parts.append(DAGSTER_LINK.format(url=url, whole=whole))
    parts += [CONSOLE.format(url=escape(settings.public_url.rstrip("/"))), LOGOUT_FORM]
    return Page(body="\n".join(parts))


def _org_list(orgs: Sequence[UserOrg]) -> str:
    if not orgs:
        return NO_ORG
    items = [
        ORG.format(
            name=escape(org.name),
            slug=escape(org.slug),
            role=escape(org.role),
            state=", suspended" if org.is_suspended else "",
        )
        for org in orgs
    ]
    return f"<p>Your organizations:</p>\n<ul>{''.join(items)}</ul>"
