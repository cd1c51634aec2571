"""A real HTTP server on loopback that answers the internal API as a test wants it.

A fake at a process boundary, for tests of the execution plane alone; the end-to-end tests use
the control plane itself.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.quotas import Quotas

OPERATOR_COOKIE = "datanika_session=operator"
MEMBER_COOKIE = "datanika_session=member"


@dataclass
class ControlPlaneStandIn:
    """What the server answers, and what it was asked."""

    manifests: dict[str, CodeLocation] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    tokens: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    authorized: list[dict[str, Any]] = field(default_factory=list)
    redeemed: set[str] = field(default_factory=set)
    lost_answers: int = 0
    redeem_answers: list[tuple[int, Any]] = field(default_factory=list)
    redeem_seconds: float = 0.0
    silent_manifests: int = 0
    is_sealed: bool = False
    refuses_seal: bool = False
    seal_seconds: float = 0.0
    sessions_asked: int = 0
    quotas: Quotas = field(default_factory=Quotas)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    intents: list[dict[str, Any]] = field(default_factory=list)
    intent_refusal: tuple[int, Any] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def publish(self, manifest: CodeLocation) -> str:
        sha256 = manifest.sha256()
        self.manifests[sha256] = manifest
        self.current[manifest.org] = sha256
        return sha256

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        parts = path.removeprefix("/internal/v1/").split("/")
        match (method, parts):
            case ("GET", ["orgs", org, "manifest"]):
                return self._manifest(self.current.get(org))
            case ("GET", ["orgs", _, "manifests", sha256]):
                return self._manifest(sha256)
            case ("POST", ["runs", run_id, "authorize"]):
                return self._token(run_id, body)
            case ("POST", ["task-tokens"]):
                return self._shell_token(headers.get("X-API-Key"), body)
            case ("POST", ["task-tokens", "redeem"]):
                return self._redeem(headers.get("Authorization", "").removeprefix("Bearer "))
            case ("POST", ["orgs", org, "intents"]):
                return self._intent(org, headers, body)
        return self._about_the_platform(method, path, headers)

    def _about_the_platform(self, method: str, path: str, headers: Any) -> tuple[int, Any]:
        match (method, path.removeprefix("/internal/v1/")):
            case ("GET", "quotas"):
                return 200, self.quotas.model_dump()
            case ("GET", "seal"):
                return self._seal()
            case ("GET", "session"):
                return self._session(headers)
        return 404, {"detail": f"No such route: {path}"}

    def _manifest(self, sha256: str | None) -> tuple[int, Any]:
        if self.silent_manifests:
            self.silent_manifests -= 1
            return 502, {"detail": "It is started again."}
        if sha256 not in self.manifests:
            return 404, {"detail": "Nothing is published."}
        return 200, {"sha256": sha256, "manifest": self.manifests[sha256].canonical_json()}

    def _seal(self) -> tuple[int, Any]:
        if self.refuses_seal:
            return 403, {"detail": "Not you."}
        time.sleep(self.seal_seconds)
        return 200, {"state": "sealed" if self.is_sealed else "unsealed"}

    def _shell_token(self, key: str | None, body: Any) -> tuple[int, Any]:
        if key != "dtn_key":
            return 401, {"detail": "The API key is not valid."}
        return self._token(body["run_id"], body)

    def _token(self, run_id: str, body: Any) -> tuple[int, Any]:
        if self.refusal:
            return self.refusal[0], {"detail": self.refusal[1]}
        self.authorized.append(body)
        token = f"dtk_{run_id}"
        self.tokens[token] = body["org"]
        return 200, {"token": token, "expires_at": "2036-01-01T00:00:00Z", "org_id": 1}

    def _redeem(self, token: str) -> tuple[int, Any]:
        time.sleep(self.redeem_seconds)
        if self.redeem_answers:
            return self.redeem_answers.pop(0)
        if token not in self.tokens:
            return 401, {"detail": "The task token is not valid.", "code": "unauthorized"}
        if token in self.redeemed:
            return 401, {"detail": "The task token was used already.", "code": "task_token_used"}
        if self.is_sealed:
            return 423, {"detail": "The platform is sealed."}
        self.redeemed.add(token)
        if self.lost_answers:
            self.lost_answers -= 1
            return 502, {"detail": "Killed before it could answer."}
        org = self.tokens[token]
        return 200, {
            "org": org,
            "org_id": 1,
            "connections": self.connections,
            "allowed_networks": ["127.0.0.0/8"],
        }

    def sign_in(self, org: str | None, role: str | None, org_id: int = 1) -> str:
        """Signs somebody in and returns their cookie."""
        cookie = f"datanika_session={secrets.token_hex(8)}"
        self.people[cookie] = {
            "kind": "user",
            "name": f"{role}@{org}.example",
            "is_platform_operator": False,
            "org": org,
            "org_id": org_id if org else None,
            "role": role,
            "permissions": sorted(ROLE_PERMISSIONS[Role(role)]) if role else None,
        }
        return cookie

    def _intent(self, org: str, headers: Any, body: Any) -> tuple[int, Any]:
        person = self.people.get(headers.get("Cookie"))
        if headers.get("Authorization") != "Bearer service-gateway" or person is None:
            return 401, {"detail": "Send a service token and a session."}
        if person["org"] != org:
            return 404, {"detail": "No such organization.", "code": "not_found"}
        if self.intent_refusal:
            return self.intent_refusal
        self.intents.append({"org": org, "who": person["name"], **body})
        first = 1000 + len(self.intents) * 100
        return 200, {"launch_ids": list(range(first, first + body["launches"]))}

    def _session(self, headers: Any) -> tuple[int, Any]:
        self.sessions_asked += 1
        if headers.get("Authorization") == "Bearer service-control-plane":
            return 200, {"kind": "service", "name": "control_plane", "is_platform_operator": True}
        if headers.get("Authorization") == "Bearer service-launcher":
            return 403, {"detail": "A service token of the role 'launcher' may not."}
        cookie = headers.get("Cookie")
        if cookie in self.people:
            return 200, self.people[cookie]
        if cookie == OPERATOR_COOKIE:
            return 200, {"kind": "user", "name": "o", "is_platform_operator": True}
        if cookie == MEMBER_COOKIE:
            return 200, {"kind": "user", "name": "m", "is_platform_operator": False}
        return 401, {"detail": "Sign in first."}


@contextmanager
def serve(stand_in: ControlPlaneStandIn) -> Iterator[ControlPlaneStandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._handle("GET")

        def do_POST(self) -> None:
            self._handle("POST")

        def _handle(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            stand_in.requests.append((method, self.path, body))
            status, answer = stand_in.answer(method, self.path, self.headers, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
