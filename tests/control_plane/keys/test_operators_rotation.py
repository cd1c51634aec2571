"""An operator replaces the data key of any org, as after a leak, and both logs say so."""

from sqlalchemy import text

from control_plane.core.database import transaction
from tests.control_plane.keys.conftest import Platform, vault_of

SYSTEM = "/api/v1/system"


def slug_of(platform: Platform, org_id: int) -> str:
    with transaction(platform.factory, org_id) as session:
        return str(session.scalar(text("SELECT slug FROM organizations")))


def rotate(client, slug: str):
    return client.post(f"{SYSTEM}/orgs/{slug}/data-key/rotations")


def test_any_org_also_a_deleted_one(unlocked, platform: Platform):
    vault = vault_of(unlocked)
    orgs = [platform.make_org(vault, connections=2) for _ in range(3)]
    for org_id, change in ((orgs[0], "is_suspended = true"), (orgs[1], "deleted_at = now()")):
        with transaction(platform.factory, org_id) as session:
            session.execute(text(f"UPDATE organizations SET {change} WHERE id = {org_id}"))
    before = platform.data_keys()
    for org_id in orgs[:2]:
        answer = rotate(unlocked, slug_of(platform, org_id))
        assert answer.status_code == 202, answer.text
        assert (answer.json()["state"], answer.json()["remaining"]) == ("idle", 0)
    after = platform.data_keys()
    assert [after[one][0].id > before[one][0].id for one in orgs] == [True, True, False]
    platform.assert_all_readable(vault)
    assert platform.platform_audit().count("rotate data_key") == 2
    for org_id in orgs[:2]:
        with transaction(platform.factory, org_id) as session:
            query = "SELECT action || ' ' || actor_kind FROM audit_entries ORDER BY id"
            actions = session.scalars(text(query)).all()
        assert actions == ["rotate user", "rotation_completed system"]


def test_refusals(unlocked, platform: Platform):
    vault = vault_of(unlocked)
    slug = slug_of(platform, platform.make_org(vault))
    assert rotate(unlocked, "nobody_has_this").status_code == 404
    unlocked.post(f"{SYSTEM}/seal")
    assert rotate(unlocked, slug).status_code == 423
    del unlocked.headers["Authorization"]
    assert rotate(unlocked, slug).status_code == 401
    assert "rotate data_key" not in platform.platform_audit()
