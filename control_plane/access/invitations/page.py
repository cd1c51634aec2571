"""`GET /invitation`: the page behind an invitation's link.

It is the same for everybody and holds nothing: its script reads the token from the link's fragment
and speaks to the REST API. The policy lets this one script run, and nothing else.
"""

import base64
import hashlib

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

page_router = APIRouter()

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:100vh;margin:0}
main,form{display:grid;gap:1rem;width:min(24rem,90vw)}
label{display:grid;gap:.25rem}
input,button{font:inherit;padding:.6rem;border-radius:.4rem;border:1px solid #8888}
button{background:#3b5bdb;color:#fff;border:0;cursor:pointer}
p{margin:0}
[hidden]{display:none!important}
[role=alert]{color:#c92a2a}
"""
SCRIPT = """
'use strict';
const byId = id => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get('token') || '';
let invitation = null;

const say = text => { byId('problem').textContent = text; };

async function call(path, body, accessToken) {
  const headers = {'Content-Type': 'application/json'};
  if (accessToken) headers.Authorization = 'Bearer ' + accessToken;
  const answer = await fetch('/api/v1/auth' + path,
    {method: 'POST', headers, body: JSON.stringify(body), credentials: 'same-origin'});
  const content = await answer.json();
  if (answer.ok) return content;
  const fields = (content.errors || []).map(one => one.detail);
  const problem = new Error(fields.length ? fields.join('; ') : content.detail);
  problem.isSignIn = answer.status === 401;
  throw problem;
}

async function show() {
  try {
    invitation = await call('/invitations/show', {token});
  } catch (error) {
    byId('offer').textContent = 'This invitation cannot be used.';
    say(error.message);
    return;
  }
  byId('offer').textContent = 'Become ' + invitation.role + ' of ' + invitation.org_name + '.';
  byId('email').value = invitation.email;
  byId('form').hidden = false;
  if (invitation.has_account) {
    byId('what').textContent = 'Password of your account';
    byId('password').autocomplete = 'current-password';
  } else {
    askPassword();
  }
}

function askPassword() {
  byId('secret').hidden = false;
  byId('elsewhere').hidden = !invitation.has_account;
  byId('password').required = !invitation.has_account;
  byId('password').focus();
}

async function join(password) {
  if (!invitation.has_account) return call('/invitations/accept', {token, password});
  // Without a password: as whoever is signed in on this platform's pages.
  if (!password) return call('/invitations/accept', {token});
  const login = await call('/login', {email: invitation.email, password});
  return call('/invitations/accept', {token}, login.access_token);
}

async function accept(event) {
  event.preventDefault();
  say('');
  byId('button').disabled = true;
  try {
    await join(byId('password').value);
    history.replaceState(null, '', location.pathname);
    byId('form').remove();
    byId('offer').textContent =
      'Welcome: you are ' + invitation.role + ' of ' + invitation.org_name + ' now.';
  } catch (error) {
    byId('button').disabled = false;
    say(error.message);
    if (error.isSignIn) askPassword();
  }
}

byId('form').addEventListener('submit', accept);
show();
"""
PAGE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Invitation · Datanika</title><style>{STYLE}</style></head><body><main>
<h1>Datanika</h1><p id="offer" aria-live="polite">Reading the invitation …</p>
<p id="problem" role="alert"></p>
<form id="form" hidden><label>E-mail <input id="email" type="email" readonly
autocomplete="username"></label>
<label id="secret" hidden><span id="what">Choose a password (10 characters at least)</span>
<input id="password" type="password" autocomplete="new-password"></label>
<p id="elsewhere" hidden>Or <a href="/login" target="_blank" rel="noopener">sign in on another page</a>
and accept here.</p>
<button id="button">Accept</button></form>
<noscript><p>This page needs JavaScript; <code>datanika invitation accept</code> does not.</p>
</noscript></main><script>{SCRIPT}</script></body></html>"""


def _source_hash(text: str) -> str:
    """Returns what a policy calls an inline script or style (CSP level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


SECURITY_POLICY = (
    f"default-src 'none'; script-src {_source_hash(SCRIPT)}; style-src {_source_hash(STYLE)}; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@page_router.get("/invitation", include_in_schema=False)
async def invitation_page() -> HTMLResponse:
    """Shows the page on which a person accepts an invitation."""
    headers = {"Content-Security-Policy": SECURITY_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(PAGE, headers=headers)
