"""The page behind a password link, and the one on which a person asks for such a link.

Both are the same for everybody. The link's token is in its fragment, which browsers send to nobody;
the page's script reads it and speaks to the REST API.
"""

from control_plane.core.pages import Page, new_nonce

RESET_FORM = """<form id="form">
<label>New password
<input id="password" type="password" autocomplete="new-password" minlength="10" required autofocus>
</label><button>Set password</button></form><p id="told" role="status"></p>"""
RESET_SCRIPT = """
const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const wanted = () => ["/redeem", {token, new_password: byId("password").value}];
const done = () => say("The password is set; every session was ended. Sign in at /login.");
"""
FORGOTTEN_FORM = """<form id="form">
<label>E-mail <input id="email" type="email" autocomplete="username" required autofocus></label>
<button>Send me a link</button></form><p id="told" role="status"></p>"""
FORGOTTEN_SCRIPT = """
const wanted = () => ["", {email: byId("email").value}];
const done = (content) => say(content.detail);
"""
SCRIPT = """<script nonce="{nonce}">"use strict";
const byId = (id) => document.getElementById(id);
const say = (text) => {{ byId("told").textContent = text; }};
{own}
byId("form").addEventListener("submit", async (event) => {{
  event.preventDefault();
  const [path, body] = wanted();
  try {{
    const answer = await fetch("/api/v1/auth/password-resets" + path, {{
      method: "POST", headers: {{"Content-Type": "application/json"}}, body: JSON.stringify(body)
    }});
    const content = answer.status === 204 ? {{}} : await answer.json();
    if (!answer.ok) {{
      const fields = (content.errors || []).map((one) => one.detail);
      throw new Error(fields.length ? fields.join("; ") : content.detail);
    }}
    byId("form").hidden = true;
    done(content);
  }} catch (error) {{ say(error.message); }}
}});
</script>"""


def reset_page() -> Page:
    """Returns the page on which a person with a link sets a new password."""
    return _page(RESET_FORM, RESET_SCRIPT)


def forgotten_page() -> Page:
    """Returns the page on which a person asks for a link."""
    return _page(FORGOTTEN_FORM, FORGOTTEN_SCRIPT)


def _page(form: str, own_script: str) -> Page:
    nonce = new_nonce()
    script = SCRIPT.format(nonce=nonce, own=own_script)
    sources = {"script-src": f"'nonce-{nonce}'", "connect-src": "'self'"}
    return Page(body=form + script, sources=sources, nonce=nonce)
