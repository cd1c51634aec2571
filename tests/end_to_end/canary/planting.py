"""Puts secrets wherever the platform takes one, and lets everything go well and go wrong."""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import make_url

from control_plane.core.clock import utc_now
from datanika_manifest.connectors.base import ConnectorDeclaration
from datanika_manifest.connectors.registry import CONNECTORS
from datanika_stack.layout import Home
from datanika_stack.secrets import load
from datanika_stack.service_tokens import ServiceRole, mint
from tests.end_to_end.canary.needles import Canaries
from tests.end_to_end.conftest import Org, RunningStack

# A valid configuration of each connector that people make, without its secrets.
PLAIN_CONFIGS: dict[str, Callable[[RunningStack], dict[str, Any]]] = {
    "postgres": lambda stack: {
        "host": "127.0.0.1",
        "port": stack.port + 3,
        "database": "airline",
        "user": "datanika_reader",
        "sslmode": "disable",
    },
}
# What goes with a secret field that is not free text, and the secret itself.
PAIRED: dict[tuple[str, str], str] = {("postgres", "ssl_client_key"): "ssl_client_certificate"}


def key_pair() -> tuple[str, str]:
    """Returns a private key and its certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "canary")])
    now = utc_now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class Planter:
    """Plants secrets on one stack.

    Attributes:
        org: The demo's org, whose owner operates the platform.
        canaries: What was planted.
    """

    stack: RunningStack
    org: Org
    canaries: Canaries

    @property
    def api(self) -> str:
        return f"{self.stack.api_url}/api/v1"

    def send(self, method: str, path: str, body: Any, *statuses: int, **parts: Any) -> Any:
        """Sends a request whose answer must not repeat a secret that was sent."""
        url = path if path.startswith("http") else f"{self.api}/{path}"
        answer = self.org.api.request(method, url, json=body, **parts)
        assert answer.status_code in statuses, f"{method} {path}: {answer.status_code}"
        hits = self.canaries.found_in(answer.content)
        assert not hits, f"{method} {path} answers with {hits}"
        return answer.json() if answer.content else None

    def everywhere(self) -> None:
        """Plants one in every place."""
        for declaration in CONNECTORS.values():
            if not declaration.is_managed:
                self.in_connector(declaration)
        self.in_managed_warehouse()
        self.in_accounts()
        self.in_links()
        self.in_api_keys()
        self.in_master_password()

    def in_connector(self, declaration: ConnectorDeclaration) -> None:
        """In each secret field: a connection that cannot work, in every way, and bad requests."""
        kind = declaration.kind
        plain = PLAIN_CONFIGS[kind](self.stack)
        planted = {
            name: self.canaries.plant(f"{kind}.{name}")
            for name in sorted(declaration.secret_fields())
            if (kind, name) not in PAIRED
        }
        for change in (
            {},
            {"host": "no-such-host.invalid"},
            {"port": 1},
            {"host": "169.254.169.254"},
            {"database": "nowhere"},
            {"sslmode": "require"},
            {"sslmode": "verify-full"},
        ):
            self.try_connection(kind, {**plain, **planted, **change})
        for (paired_kind, name), other in PAIRED.items():
            if paired_kind == kind:
                key, certificate = key_pair()
                self.canaries.note(f"{kind}.{name}", key)
                pair = {name: key, other: certificate, "sslmode": "require"}
                self.try_connection(kind, {**plain, **planted, **pair})
        self.in_wrong_places(kind, plain, next(iter(planted.values())))

    def try_connection(self, kind: str, config: dict[str, Any]) -> None:
        """Makes a connection, tests it, looks at its tables, changes it, and deletes it."""
        body = {
            "name": f"canary {secrets.token_hex(4)}",
            "connector": kind,
            "direction": "source",
            "config": config,
        }
        root = f"orgs/{self.org.slug}/connections"
        row = self.send("POST", root, body, 201)
        self.send("POST", f"{root}/{row['id']}/test", None, 200)
        if config.get("port") == 1:  # one task more is enough: it answers as the test does
            self.send("POST", f"{root}/{row['id']}/metadata/sync", None, 422, 502)
        again = self.canaries.plant(f"{kind}.password changed")
        self.send("PATCH", f"{root}/{row['id']}", {"config": {"password": again}}, 200)
        self.send("GET", f"{root}/{row['id']}", None, 200)
        self.send("DELETE", f"{root}/{row['id']}", None, 204)

    def in_wrong_places(self, kind: str, plain: dict[str, Any], secret: str) -> None:
        """Refused requests that hold a secret where none belongs."""
        root = f"orgs/{self.org.slug}/connections"
        body = {"name": "wrong", "connector": kind, "direction": "source", "config": plain}
        for wrong in (
            {"config": {**plain, "pasword": secret}},
            {"config": {**plain, "password": [secret]}},
            {"config": {**plain, "password": secret, "port": secret}},
            {"config": {**plain, "password": secret, "sslmode": secret}},
            {"config": secret},
            {"direction": secret},
            {"password": secret},
        ):
            self.send("POST", root, {**body, **wrong}, 422)
        self.send("POST", "auth/login", {"email": secret, "password": secret}, 422)
        self.send("POST", "auth/refresh", {"refresh_token": {"a": secret}}, 422)

    def in_managed_warehouse(self) -> None:
        """What the platform itself stores: as a run gets it, with the launcher's own token."""
        reader = self.org.post("warehouse/credentials")
        self.note_reader(reader)
        # The demo's own login has just ended; whoever looks into the warehouse next uses this one.
        self.stack.demo["warehouse_url"] = reader["url"]
        key = load(Home.at(self.stack.home)).secret_key
        launcher = {"Authorization": f"Bearer {mint(key, ServiceRole.LAUNCHER)}"}
        sha256 = self.org.get("manifest")["sha256"]
        root = f"{self.stack.api_url}/internal/v1"
        body = {"org": self.org.slug, "manifest_sha256": sha256}
        url = f"{root}/runs/{uuid.uuid4()}/authorize"
        token = httpx.post(url, json=body, headers=launcher, timeout=30).json()["token"]
        self.canaries.note("task token", token)
        bearer = {"Authorization": f"Bearer {token}"}
        found = httpx.post(f"{root}/task-tokens/redeem", headers=bearer, timeout=30).json()
        for slug, connection in found["connections"].items():
            for name in CONNECTORS[connection["connector"]].secret_fields():
                if connection["config"].get(name):
                    self.canaries.note(f"{slug}.{name}", connection["config"][name])
        again = httpx.post(f"{root}/task-tokens/redeem", headers=bearer, timeout=30)
        assert again.status_code == 401

    def note_reader(self, reader: dict[str, Any]) -> None:
        """Notes a login of the warehouse."""
        self.canaries.note("warehouse reader", reader["password"])

    def in_accounts(self) -> None:
        """Passwords that are right, wrong, too long; tokens that are used, used again, ended."""
        password = self.canaries.plant("password")
        email = f"{secrets.token_hex(6)}@example.com"
        new = {"email": email, "password": password, "org_name": "Canary"}
        tokens = self._tokens("signup", new)
        self.send("POST", "auth/signup", new, 409)
        too_long = self.canaries.plant("long password") * 3
        self.send("POST", "auth/signup", {**new, "password": too_long}, 422)
        wrong = self.canaries.plant("wrong password")
        self.send("POST", "auth/login", {"email": email, "password": wrong}, 401)
        form = {"email": email, "password": self.canaries.plant("password in the form")}
        assert httpx.post(f"{self.stack.api_url}/login", data=form).status_code == 401
        tokens = self._tokens("login", {"email": email, "password": password})
        body = {"refresh_token": tokens["refresh_token"]}
        fresh = self._tokens("refresh", body)
        self.send("POST", "auth/refresh", body, 401)
        bearer = {"Authorization": f"Bearer {fresh['access_token']}"}
        self.send("POST", "auth/logout", None, 204, 401, headers=bearer)

    def _tokens(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Gets tokens, which nobody shall find afterwards."""
        answer = httpx.post(f"{self.api}/auth/{path}", json=body, timeout=60)
        assert answer.is_success, f"{path}: {answer.status_code}"
        tokens = answer.json()
        self.canaries.note("refresh token", tokens["refresh_token"])
        self.canaries.note("access token", tokens["access_token"].rpartition(".")[2])
        for cookie in answer.cookies.values():
            self.canaries.note("cookie", cookie.rpartition(".")[2])
        return tokens

    def in_links(self) -> None:
        """Invitations and links for a new password: used, wrong, and never used."""
        email = f"{secrets.token_hex(6)}@example.com"
        invited = self.org.post("invitations", email=email, role="viewer")
        token = self.note_link("invitation", invited["link"])
        self.org.post(f"../../orgs/{self.org.slug}/invitations", email=f"x{email}", role="viewer")
        password = self.canaries.plant("password of the invited")
        self.send("POST", "auth/invitations/show", {"token": token}, 200)
        self._tokens("invitations/accept", {"token": token, "password": password})
        body = {"token": token, "password": password}
        self.send("POST", "auth/invitations/accept", body, 404, 409, 422)
        url = f"{self.api}/system/password-resets"
        made = self.org.api.post(url, json={"email": email})
        assert made.status_code == 201, made.status_code
        reset = self.note_link("reset link", made.json()["link"])
        new = self.canaries.plant("new password")
        redeemed = {"token": reset, "new_password": new}
        self.send("POST", "auth/password-resets/redeem", redeemed, 204)
        self.send("POST", "auth/password-resets/redeem", redeemed, 400, 401, 404, 409, 422)
        self._tokens("login", {"email": email, "password": new})

    def note_link(self, name: str, link: str) -> str:
        """Notes the token of a link and returns it."""
        token = link.rpartition("=")[2].rpartition("#")[2].rpartition("/")[2]
        self.canaries.note(name, token)
        return token

    def in_api_keys(self) -> None:
        """Keys that are used, without a scope, and ended."""
        made = self.org.post("api-keys", name="canary", scopes=["connections:read"])
        header = {"X-API-Key": self.canaries.note("API key", made["key"])}
        url = f"{self.api}/orgs/{self.org.slug}"
        for path, status in (("connections", 200), ("audit", 403)):
            assert httpx.get(f"{url}/{path}", headers=header).status_code == status
        self.org.api.delete(f"api-keys/{made['id']}")
        assert httpx.get(f"{url}/connections", headers=header).status_code == 401

    def in_master_password(self) -> None:
        """Refused: this stack's keys are in its secrets.env."""
        password = self.canaries.plant("master password")
        for method, path, body in (
            ("POST", "unlock", {"password": password}),
            ("POST", "master-password", {"password": password}),
            ("PUT", "master-password", {"current_password": password, "new_password": password}),
        ):
            self.send(method, f"system/{path}", body, 409, 401, 422)

    def new_source(self, password: str) -> dict[str, Any]:
        """Returns the config of a source that works, with a role of its own."""
        role = f"canary_{secrets.token_hex(4)}"
        admin = load(Home.at(self.stack.home)).source_password
        port = self.stack.port + 3
        url = make_url(f"postgresql://postgres@127.0.0.1:{port}/airline").set(password=admin)
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            # The server gets the verifier only: it writes statements that fail into its log.
            verifier = connection.pgconn.encrypt_password(
                password.encode(), role.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{verifier}'")
            connection.execute(f"GRANT CONNECT ON DATABASE airline TO {role}")
            connection.execute(f"GRANT pg_read_all_data TO {role}")
        return {**PLAIN_CONFIGS["postgres"](self.stack), "user": role, "password": password}
