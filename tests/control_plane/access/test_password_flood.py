"""A flood at the door leaves threads for those who are inside."""

from contextlib import ExitStack

from fastapi.testclient import TestClient

from control_plane.access.users.passwords import MAXIMUM_AT_ONCE, password_slot

LOGIN = {"email": "nobody@example.com", "password": "correct horse battery"}


def test_who_finds_no_place_is_told_to_come_back(client: TestClient):
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE):
            taken.enter_context(password_slot())
        refused = client.post("/api/v1/auth/login", json=LOGIN)
        inside = client.get(f"/api/v1/orgs/{client.org}")  # type: ignore[attr-defined]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert inside.status_code == 200
    assert client.post("/api/v1/auth/login", json=LOGIN).status_code == 401
