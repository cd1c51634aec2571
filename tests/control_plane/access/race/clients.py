"""Clients that act at random on the same rows, by HTTP, and count what they were told."""

import random
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

PASSWORD = "correct horse battery"
ROLES = ("viewer", "editor", "admin")


@dataclass
class Org:
    """An org that several clients change at once.

    Attributes:
        slug: The org's.
        owners: The access tokens of its owners, with their ids.
        members: Ids of members whose roles change.
        connections: Ids of connections whose names change.
        schedules: Ids of schedules that are switched.
    """

    slug: str
    owners: list[tuple[str, int]]
    members: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    schedules: list[int] = field(default_factory=list)


@dataclass
class Tally:
    """What the clients were told; shared.

    Attributes:
        changes: How often a change succeeded, by action and resource.
        answers: How often each action got each status.
        unexpected: Answers that must not be.
        emails: Accounts that exist.
    """

    changes: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, action: str, answer: httpx.Response, *allowed: int) -> bool:
        """Counts an answer and tells whether the action succeeded."""
        with self.lock:
            self.answers[action, answer.status_code] += 1
            if answer.status_code not in allowed:
                self.unexpected.append(f"{action}: {answer.status_code} {answer.text[:300]}")
            succeeded = answer.is_success
            self.changes[action] += succeeded
        return succeeded


class RacingClient:
    """One client: a thread of its own, a seed of its own, and every action by chance."""

    def __init__(self, url: str, seed: int, tally: Tally, shared: Org, duel: Org) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=60)
        self._random = random.Random(seed)
        self._begin = self.sign_up if seed % 2 else self.log_in
        self._tally = tally
        self._shared = shared
        self._duel = duel
        self._refresh_token = ""
        self._weighted = [
            (self.rename_connection, 30),
            (self.switch_schedule, 20),
            (self.rename_org, 10),
            (self.change_role, 20),
            (self.use_a_key, 12),
            (self.renew, 10),
            (self.invite, 8),
            (self.fight, 8),
            (self.log_in, 2),
            (self.sign_up, 1),
        ]

    def run(self, ended: threading.Event) -> None:
        """Acts until the time is over."""
        with self._http:
            self._begin()
            actions = [action for action, _ in self._weighted]
            weights = [weight for _, weight in self._weighted]
            while not ended.is_set():
                self._random.choices(actions, weights)[0]()

    def rename_connection(self) -> None:
        path = f"connections/{self._random.choice(self._shared.connections)}"
        self._patch("update connection", path, {"name": f"c {secrets.token_hex(6)}"})

    def switch_schedule(self) -> None:
        path = f"schedules/{self._random.choice(self._shared.schedules)}"
        self._patch("update schedule", path, {"name": f"s {secrets.token_hex(6)}"})

    def rename_org(self) -> None:
        self._patch("update organization", "", {"name": f"o {secrets.token_hex(6)}"})

    def change_role(self) -> None:
        path = f"members/{self._random.choice(self._shared.members)}"
        self._patch("update member", path, {"role": self._random.choice(ROLES)})

    def use_a_key(self) -> None:
        """Makes a key, uses it, revokes it, and finds that it has ended."""
        body = {"name": "race", "scopes": ["connections:read", "connections:write"]}
        answer = self._send("POST", "api-keys", json=body)
        if not self._tally.note("create api_key", answer, 201):
            return
        key = {"X-API-Key": answer.json()["key"]}
        connection = f"connections/{self._random.choice(self._shared.connections)}"
        body = {"name": f"k {secrets.token_hex(6)}"}
        used = self._send("PATCH", connection, headers=key, json=body)
        self._tally.note("update connection", used, 200)
        path = f"api-keys/{answer.json()['id']}"
        self._tally.note("delete api_key", self._send("DELETE", path), 204)
        ended = self._send("GET", connection, headers=key)
        self._tally.note("use an ended key", ended, 401)

    def renew(self) -> None:
        """Renews its session; now and then with the token before, which ends the session."""
        old = self._refresh_token
        answer = self._http.post("auth/refresh", json={"refresh_token": old})
        if self._tally.note("refresh", answer, 200):
            self._refresh_token = answer.json()["refresh_token"]
        if self._random.random() < 0.1:
            again = self._http.post("auth/refresh", json={"refresh_token": old})
            self._tally.note("reuse", again, 401)
            self.log_in()

    def invite(self) -> None:
        """Invites somebody, who accepts, or whose invitation is renewed or revoked."""
        email = f"{secrets.token_hex(6)}@example.com"
        answer = self._send("POST", "invitations", json={"email": email, "role": "viewer"})
        if not self._tally.note("create invitation", answer, 201, 429):
            return
        path = f"invitations/{answer.json()['id']}"
        if self._random.random() < 0.3:
            self._tally.note("renew invitation", self._send("POST", f"{path}/renew"), 200)
        self._tally.note("delete invitation", self._send("DELETE", path), 204)

    def fight(self) -> None:
        """One of two owners demotes the other; whoever is left makes an owner again."""
        (token, _), (_, other) = self._random.sample(self._duel.owners, 2)
        path = f"orgs/{self._duel.slug}/members/{other}"
        for role in ("viewer", "owner"):
            answer = self._http.patch(
                path, headers={"Authorization": f"Bearer {token}"}, json={"role": role}
            )
            self._tally.note("fight", answer, 200, 403, 409)

    def log_in(self) -> None:
        email = self._random.choice(self._tally.emails)
        answer = self._http.post("auth/login", json={"email": email, "password": PASSWORD})
        if self._tally.note("login", answer, 200):
            self._refresh_token = answer.json()["refresh_token"]

    def sign_up(self) -> None:
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email, "password": PASSWORD, "org_name": "Race"}
        answer = self._http.post("auth/signup", json=body)
        if self._tally.note("sign_up", answer, 201):
            self._refresh_token = answer.json()["refresh_token"]
            with self._tally.lock:
                self._tally.emails.append(email)

    def _patch(self, action: str, path: str, body: dict[str, Any]) -> None:
        """Changes a row, half of the time only if nobody else has since it was read."""
        headers: dict[str, str] = {}
        allowed = [200]
        if self._random.random() < 0.5:
            headers["If-Match"] = self._send("GET", path).headers["ETag"]
            allowed.append(412)
        answer = self._send("PATCH", path, headers=headers, json=body)
        self._tally.note(action, answer, *allowed)

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = parts.pop("headers", {})
        if "X-API-Key" not in headers:
            token, _ = self._random.choice(self._shared.owners)
            headers = {"Authorization": f"Bearer {token}", **headers}
        url = f"orgs/{self._shared.slug}/{path}".rstrip("/")
        return self._http.request(method, url, headers=headers, **parts)
