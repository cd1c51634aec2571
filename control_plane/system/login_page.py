"""The plain page on which a person signs in for the Dagster UI, and where it may lead them."""

from html import escape
from urllib.parse import urlsplit

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}
form{display:grid;gap:1rem;width:min(20rem,90vw)}
label{display:grid;gap:.25rem}
input,button{font:inherit;padding:.6rem;border-radius:.4rem;border:1px solid #8888}
button{background:#3b5bdb;color:#fff;border:0;cursor:pointer}
p{margin:0;color:#c92a2a}
"""
FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Datanika</title>
<style>{style}</style></head><body><form method="post"><h1>Datanika</h1>{error}
<label>E-mail <input name="email" type="email" autocomplete="username" required autofocus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" required></label>
<input type="hidden" name="next" value="{next}"><button>Sign in</button></form></body></html>"""


def render(next_url: str, error: str | None = None) -> str:
    """Returns the page's HTML."""
    message = f'<p role="alert">{escape(error)}</p>' if error else ""
    return FORM.format(style=STYLE, error=message, next=escape(next_url, quote=True))


def safe_next(next_url: str | None, dagster_url: str) -> str:
    """Returns where to go after signing in: inside the Dagster UI, nowhere else.

    Args:
        next_url: What the request asked for.
        dagster_url: The public URL of the Dagster UI.
    """
    if not next_url or any(c in next_url for c in "\\\t\r\n\x00"):
        return dagster_url
    wanted, allowed = urlsplit(next_url), urlsplit(dagster_url)
    same_origin = (wanted.scheme, wanted.netloc) == (allowed.scheme, allowed.netloc)
    if same_origin and f"{wanted.path}/".startswith(f"{allowed.path}/"):
        return next_url
    return dagster_url
