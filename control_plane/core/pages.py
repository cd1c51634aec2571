"""The few plain HTML pages of the platform: one look, and a strict Content-Security-Policy each.

A page runs no script and loads nothing, unless it says what: see `Page`. Styles and scripts are
allowed by a nonce that is new for each answer (https://www.w3.org/TR/CSP3/#security-nonces).
"""

import secrets
from dataclasses import dataclass, field
from html import escape

from fastapi.responses import HTMLResponse

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}
main{display:grid;gap:1rem;width:min(24rem,90vw)}
form{display:grid;gap:1rem}
label{display:grid;gap:.25rem}
input,button{font:inherit;padding:.6rem;border-radius:.4rem;border:1px solid #8888}
button{background:#3b5bdb;color:#fff;border:0;cursor:pointer}
p,ul,pre{margin:0}
pre{overflow-x:auto}
[role=alert]{color:#c92a2a}
[hidden]{display:none!important}
"""
DOCUMENT = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Datanika</title>
<style nonce="{nonce}">{style}</style></head><body><main><h1>Datanika</h1>{alert}
{body}</main></body></html>"""


def new_nonce() -> str:
    """Returns what allows one answer's own styles and scripts."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        body: HTML; everything in it that came from a request is escaped.
        alert: A text that is shown above it.
        form_targets: Origins beside this one that a form's answer may lead to.
        sources: More of the policy, by directive.
        nonce: Of this answer.
    """

    body: str
    alert: str | None = None
    form_targets: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict[str, str])
    nonce: str = field(default_factory=new_nonce)

    def answer(self, status_code: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
        """Returns the response.

        Args:
            status_code: Its status.
            headers: More headers.
        """
        alert = f'<p role="alert">{escape(self.alert)}</p>' if self.alert else ""
        html = DOCUMENT.format(nonce=self.nonce, style=STYLE, alert=alert, body=self.body)
        own = {
            "Content-Security-Policy": self._policy(),
            # Without a referrer, browsers call the origin of a form `null`, and it could not be
            # told from another site's (https://fetch.spec.whatwg.org/#append-a-request-origin-header).
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(html, status_code, headers=own | (headers or {}))

    def _policy(self) -> str:
        directives = {
            "default-src": "'none'",
            "style-src": f"'nonce-{self.nonce}'",
            "form-action": " ".join(("'self'", *self.form_targets)),
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
            **self.sources,
        }
        return "; ".join(f"{name} {value}" for name, value in directives.items())
