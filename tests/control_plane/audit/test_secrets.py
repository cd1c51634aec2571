"""No audit entry ever holds a secret: each secret setting of each connector, planted and looked for."""

import secrets
from typing import Any

import pytest
from sqlalchemy import text

from control_plane.access.caller import Caller
from control_plane.audit.service import SYSTEM, AuditLog
from control_plane.connections.service import ConnectionService
from control_plane.core.database import enter_org
from datanika_manifest.connectors.base import Direction
from datanika_manifest.connectors.registry import CONNECTORS
from tests.datanika_dagster.certificates import authority

USERS = [kind for kind, declaration in CONNECTORS.items() if not declaration.is_managed]


def planted(kind: str) -> dict[str, Any]:
    """Returns valid settings with a secret in each secret setting."""
    declaration = CONNECTORS[kind]
    pair = authority("CA").issue("etl")
    known: dict[str, Any] = {
        "port": 5432,
        "sslmode": "verify-full",
        "ssl_client_certificate": pair.certificate,
        "ssl_client_key": pair.key,
    }
    config: dict[str, Any] = {}
    for name, setting in declaration.config.model_fields.items():
        if name in known:
            config[name] = known[name]
        elif setting.is_required():
            config[name] = f"canary-{secrets.token_hex(8)}"
    assert declaration.secret_fields() <= config.keys(), "plant the new secret setting too"
    return config


def secret_texts(kind: str, config: dict[str, Any]) -> list[str]:
    names = CONNECTORS[kind].secret_fields()
    # A key is looked for by one of its lines: JSON writes line breaks in another way.
    return [
        max(str(config[name]).splitlines()[1:-1] or [str(config[name])], key=len) for name in names
    ]


def logs(session, org_id: int) -> str:
    enter_org(session, org_id)
    both = (
        "SELECT t::text FROM audit_entries t UNION ALL SELECT t::text FROM platform_audit_entries t"
    )
    return "\n".join(session.scalars(text(both)))


@pytest.mark.parametrize("kind", USERS)
def test_of_connections_that_people_make_and_change(client, session, member, kind: str):
    url = f"/api/v1/orgs/{client.org}/connections"
    first, second = planted(kind), planted(kind)
    body = {"name": "c", "connector": kind, "direction": "source", "config": first}
    made = client.post(url, json=body)
    assert made.status_code == 201, made.text
    one = f"{url}/{made.json()['id']}"
    assert client.patch(one, json={"config": second}).status_code == 200
    assert client.post(url, json={**body, "config": {**second, "wrong": 1}}).status_code == 422
    assert client.post(url, json=body).status_code == 409
    assert client.delete(one).status_code == 204
    assert client.post(f"{one}/restore").status_code == 200
    log = logs(session, member.org.id)
    assert log.count("connection") >= 4
    for config in (first, second):
        for secret in secret_texts(kind, config):
            assert len(secret) > 10
            assert secret not in log


def test_of_the_managed_warehouse(session, member, vault):
    config = planted("managed_warehouse")
    caller: Caller = member.caller
    audit = AuditLog(session, caller.org_id, SYSTEM)
    service = ConnectionService(session, caller.org_id, vault, audit)
    row = service.save_managed_warehouse(config)
    session.commit()
    assert row.direction == Direction.BOTH
    log = logs(session, member.org.id)
    assert "warehouse" in log
    for secret in secret_texts("managed_warehouse", config):
        assert secret not in log
