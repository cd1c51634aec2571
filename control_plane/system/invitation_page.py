"""`GET /invitation`: the page behind an invitation's link.

It is the same for everybody and holds nothing: its script reads the token from the link's fragment
and speaks to the REST API.
"""

from collections.abc import Sequence
from html import escape

from control_plane.core.pages import Page, new_nonce

FORM = """<p id="offer" aria-live="polite">Reading the invitation …</p>
<p id="problem" role="alert"></p>
<form id="form" hidden><label>E-mail <input id="email" type="email" readonly
autocomplete="username"></label>
<label id="secret" hidden><span id="what">Choose a password (10 characters at least)</span>
<input id="password" type="password" autocomplete="new-password"></label>
<p id="elsewhere" hidden>Or <a href="/login" target="_blank" rel="noopener">sign in on another page</a>
and accept here.</p>{warning}
<button id="button">Accept</button></form>
<noscript><p>This page needs JavaScript; <code>datanika invitation accept</code> does not.</p>
</noscript>"""
# Where the link was not mailed, the address stays unproven: docs/decisions/0064.
WARNING = """
<p id="unverified" hidden>This link does not prove that the address is yours, so your first sign-in by
{providers} ends this password, and every session, API key and invitation of yours until then.</p>"""
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
  const unverified = byId('unverified');
  if (unverified) unverified.hidden = invitation.is_email_verified;
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
    // The answer has set the cookie of the platform's pages.
    location.replace('/welcome');
  } catch (error) {
    byId('button').disabled = false;
    say(error.message);
    if (error.isSignIn) askPassword();
  }
}

byId('form').addEventListener('submit', accept);
show();
"""


def invitation_page(providers: Sequence[str]) -> Page:
    """Returns the page.

    Args:
        providers: What the providers are called that people can sign in by.
    """
    nonce = new_nonce()
    names = escape(" or ".join(providers))
    form = FORM.format(warning=WARNING.format(providers=names) if providers else "")
    script = f'<script nonce="{nonce}">{SCRIPT}</script>'
    sources = {
        "script-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "form-action": "'none'",
    }
    return Page(body=form + script, sources=sources, nonce=nonce)
