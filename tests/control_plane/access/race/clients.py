"""Clients that act at random on the same rows, by HTTP, and count what they were told."""

import random
import secrets
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

CLIENTS = 8
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
        traces: The requests that succeeded, by action; the audit log names them, too.
        roles: The versions of memberships that a change of role answered, by org.
        logins: How often each account got a new session.
        passwords: What each connection's password was set to.
        answers: How often each action got each status.
        unexpected: Answers that must not be.
        emails: Accounts that exist.
        invited: Invitations that somebody may accept, renew or revoke, with address and link.
    """

    changes: Counter[str] = field(default_factory=Counter)
    traces: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    roles: defaultdict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))
    logins: Counter[str] = field(default_factory=Counter)
    passwords: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    invited: dict[int, tuple[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, action: str, answer: httpx.Response, *allowed: int) -> bool:
        """Counts an answer and tells whether the action succeeded."""
        with self.lock:
            self.answers[action, answer.status_code] += 1
            if answer.status_code not in allowed:
                self.unexpected.append(f"{action}: {answer.status_code} {answer.text[:300]}")
            succeeded = answer.is_success
            self.changes[action] += succeeded
            if succeeded:
                self.traces[action].append(answer.headers["X-Trace-Id"])
        return succeeded

    def note_role(self, org: str, member: int, answer: httpx.Response) -> None:
        """Notes which version of a membership a change has made, or left as it was."""
        if answer.is_success:
            with self.lock:
                self.roles[org].add((member, answer.headers["ETag"]))

    def note_account(self, email: str) -> None:
        """Lets others sign in to a new account."""
        with self.lock:
            self.emails.append(email)


class RacingClient:
    """One client: a thread of its own, a seed of its own, and every action by chance."""

    def __init__(self, url: str, seed: int, tally: Tally, shared: Org, duel: Org) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=60)
        self._random = random.Random(seed)
        self._number = seed % CLIENTS
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
            (self.invite, 6),
            (self.settle_invitation, 12),
            (self.change_password, 8),
            (self.rotate_data_key, 2),
            (self.fight, 8),
            (self.log_in, 2),
            (self.sign_up, 1),
        ]

    def begin(self) -> None:
        """Signs in and does its part of everything: chance need not come to it on a slow machine."""
        (self.sign_up if self._number % 2 else self.log_in)()
        everything = (
            self.rename_connection,
            self.be_late,
            self.switch_schedule,
            self.rename_org,
            self.change_role,
            self.use_a_key,
            self.renew,
            self.accept_twice,
            self.invite_and_revoke,
            self.fight,
            self.change_password,
            self.rotate_data_key,
        )
        for action in everything[self._number :: CLIENTS]:
            action()

    def run(self, ended: threading.Event) -> None:
        """Acts until the time is over."""
        with self._http:
            self.begin()
            actions = [action for action, _ in self._weighted]
            weights = [weight for _, weight in self._weighted]
            while not ended.is_set():
                self._random.choices(actions, weights)[0]()

    def rename_connection(self) -> None:
        path = f"connections/{self._random.choice(self._shared.connections)}"
        self._patch("update connection", path, {"name": f"c {secrets.token_hex(6)}"})

    def be_late(self) -> None:
        """Changes a connection of which somebody else has made another version meanwhile."""
        path = f"connections/{self._random.choice(self._shared.connections)}"
        seen = self._send("GET", path).headers["ETag"]
        answer = self._send("PATCH", path, json={"name": f"c {secrets.token_hex(6)}"})
        self._tally.note("update connection", answer, 200)
        body = {"name": f"late {secrets.token_hex(6)}"}
        answer = self._send("PATCH", path, headers={"If-Match": seen}, json=body)
        self._tally.note("update connection", answer, 412)

    def switch_schedule(self) -> None:
        path = f"schedules/{self._random.choice(self._shared.schedules)}"
        self._patch("update schedule", path, {"name": f"s {secrets.token_hex(6)}"})

    def rename_org(self) -> None:
        self._patch("update organization", "", {"name": f"o {secrets.token_hex(6)}"})

    def change_role(self) -> None:
        member = self._random.choice(self._shared.members)
        body = {"role": self._random.choice(ROLES)}
        answer = self._patch("update member", f"members/{member}", body)
        self._tally.note_role(self._shared.slug, member, answer)

    def change_password(self) -> None:
        """Stores another secret, perhaps while the key that encrypts it is being replaced."""
        connection = self._random.choice(self._shared.connections)
        password = secrets.token_hex(8)
        with self._tally.lock:
            self._tally.passwords[connection].add(password)
        body = {"config": {"password": password}}
        self._patch("update connection", f"connections/{connection}", body)

    def rotate_data_key(self) -> None:
        answer = self._send("POST", "data-key/rotations")
        self._tally.note("rotate data_key", answer, 202)

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
        """Renews its session; now and then a thief comes with the token before and ends it."""
        old = self._refresh_token
        answer = self._http.post("auth/refresh", json={"refresh_token": old})
        if self._tally.note("refresh", answer, 200):
            self._refresh_token = answer.json()["refresh_token"]
        if self._random.random() < 0.1:
            thief = {"User-Agent": "somebody else"}
            again = self._http.post("auth/refresh", json={"refresh_token": old}, headers=thief)
            self._tally.note("reuse", again, 401)
            ended = self._http.post("auth/refresh", json={"refresh_token": self._refresh_token})
            self._tally.note("refresh an ended session", ended, 401)
            self.log_in()

    def invite(self) -> None:
        """Invites somebody; what becomes of it is anybody's to decide."""
        number, email, link = self._invited()
        with self._tally.lock:
            self._tally.invited[number] = email, link

    def _invited(self) -> tuple[int, str, str]:
        email = f"{secrets.token_hex(6)}@example.com"
        answer = self._send("POST", "invitations", json={"email": email, "role": "viewer"})
        self._tally.note("create invitation", answer, 201)
        return answer.json()["id"], email, answer.json()["link"]

    def accept_twice(self) -> None:
        """Accepts an invitation that nobody else knows of, finds the link used, and signs in."""
        number, email, link = self._invited()
        self._accept(number, email, link)
        self._accept(number, email, link)
        self.log_in(email)

    def invite_and_revoke(self) -> None:
        """Renews and revokes an invitation that nobody else knows of."""
        number, email, link = self._invited()
        self._renew(number, email, link)
        self._revoke(number, email, link)

    def settle_invitation(self) -> None:
        """Accepts, renews or revokes an invitation, perhaps while others do something else."""
        with self._tally.lock:
            # Few, so that two often take the same one.
            newest = list(self._tally.invited.items())[-4:]
        if not newest:
            return
        number, (email, link) = self._random.choice(newest)
        what = self._random.choices((self._accept, self._renew, self._revoke), (4, 2, 1))[0]
        what(number, email, link)

    def _accept(self, number: int, email: str, link: str) -> None:
        body = {"token": link.partition("#token=")[2], "password": PASSWORD}
        answer = self._http.post("auth/invitations/accept", json=body)
        # 404 also where somebody has accepted, renewed or revoked it meanwhile; 401 where whoever
        # accepted it in this very moment has made the account that has to sign in now.
        if self._tally.note("accept invitation", answer, 200, 401, 404):
            self._settled(number)
            self._tally.note_account(email)

    def _renew(self, number: int, email: str, link: str) -> None:
        answer = self._send("POST", f"invitations/{number}/renew")
        if self._tally.note("renew invitation", answer, 200, 404):
            with self._tally.lock:
                if number in self._tally.invited:
                    self._tally.invited[number] = email, answer.json()["link"]

    def _revoke(self, number: int, email: str, link: str) -> None:
        answer = self._send("DELETE", f"invitations/{number}")
        if self._tally.note("delete invitation", answer, 204, 404):
            self._settled(number)

    def _settled(self, number: int) -> None:
        with self._tally.lock:
            self._tally.invited.pop(number, None)

    def fight(self) -> None:
        """One of two owners demotes the other; whoever is left makes an owner again."""
        (token, _), (_, other) = self._random.sample(self._duel.owners, 2)
        path = f"orgs/{self._duel.slug}/members/{other}"
        for role in ("viewer", "owner"):
            answer = self._http.patch(
                path, headers={"Authorization": f"Bearer {token}"}, json={"role": role}
            )
            self._tally.note("fight", answer, 200, 403, 409)
            self._tally.note_role(self._duel.slug, other, answer)

    def log_in(self, email: str | None = None) -> None:
        email = email or self._random.choice(self._tally.emails)
        answer = self._http.post("auth/login", json={"email": email, "password": PASSWORD})
        if self._tally.note("login", answer, 200):
            self._refresh_token = answer.json()["refresh_token"]
            with self._tally.lock:
                self._tally.logins[email] += 1

    def sign_up(self) -> None:
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email, "password": PASSWORD, "org_name": "Race"}
        answer = self._http.post("auth/signup", json=body)
        if self._tally.note("sign_up", answer, 201):
            self._refresh_token = answer.json()["refresh_token"]
            self._tally.note_account(email)

    def _patch(self, action: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Changes a row, half of the time only if nobody else has since it was read."""
        headers: dict[str, str] = {}
        allowed = [200]
        if self._random.random() < 0.5:
            headers["If-Match"] = self._send("GET", path).headers["ETag"]
            allowed.append(412)
        answer = self._send("PATCH", path, headers=headers, json=body)
        self._tally.note(action, answer, *allowed)
        return answer

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = parts.pop("headers", {})
        if "X-API-Key" not in headers:
            token, _ = self._random.choice(self._shared.owners)
            headers = {"Authorization": f"Bearer {token}", **headers}
        url = f"orgs/{self._shared.slug}/{path}".rstrip("/")
        return self._http.request(method, url, headers=headers, **parts)
