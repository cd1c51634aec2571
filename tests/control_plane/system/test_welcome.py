"""`/welcome`: where people who have signed in on the platform's pages come to."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import create_user, make_operator
from control_plane.core.database import enter_org
from control_plane.core.vault import Vault
from control_plane.tenancy.service import create_organization
from tests.control_plane.system.test_pages import DAGSTER, PASSWORD, directives, log_in


@pytest.fixture
def user(session: Session):
    made = create_user(session, "ann@example.com", PASSWORD)
    session.commit()
    return made


@pytest.fixture
def operator(session: Session, user):
    make_operator(session, user.email)
    session.commit()
    return user


def join(session: Session, vault: Vault, user, name: str, role: Role):
    org = create_organization(session, vault, name)
    UserRepository(session).add_membership(org.id, user.id, role)
    session.commit()
    enter_org(session, None)
    return org


class TestWhereItLeads:
    @pytest.mark.parametrize("more", [{}, {"next": ""}, {"next": "https://evil.example"}])
    def test_everybody_without_a_wish(self, anonymous: TestClient, operator, more: dict):
        answer = log_in(anonymous, **more)
        assert (answer.status_code, answer.headers["location"]) == (303, "/welcome")

    @pytest.mark.parametrize("target", [DAGSTER, f"{DAGSTER}/runs?a=b"])
    def test_who_came_from_the_dagster_ui_goes_back(self, anonymous, user, target: str):
        answer = log_in(anonymous, next=target)
        assert answer.headers["location"] == target

    def test_the_login_page_remembers_no_wish_that_there_was_not(self, anonymous: TestClient):
        assert 'name="next" value=""' in anonymous.get("/login").text


class TestPage:
    def test_shows_who_where_and_how_to_go_on(self, anonymous, session, vault, user):
        org = join(session, vault, user, "Acme <b>", Role.EDITOR)
        closed = join(session, vault, user, "Closed", Role.OWNER)
        enter_org(session, closed.id)
        closed.is_suspended = True
        session.commit()
        enter_org(session, None)
        log_in(anonymous)
        page = anonymous.get("/welcome")
        assert page.status_code == 200
        assert "You are signed in as ann@example.com." in page.text
        assert "Acme &lt;b&gt;" in page.text
        assert "<b>" not in page.text
        assert re.search(rf"<code>{org.slug}</code>.*editor", page.text)
        assert re.search(rf"<code>{closed.slug}</code>.*owner.*suspended", page.text)
        assert "datanika login --api-url http://127.0.0.1:8700" in page.text
        assert 'href="/docs"' in page.text
        assert '<form method="post" action="/logout">' in page.text
        assert f'href="{DAGSTER}"' in page.text
        assert "as a platform operator" not in page.text

    def test_operators_get_the_link_to_the_dagster_ui(self, anonymous, operator):
        log_in(anonymous)
        page = anonymous.get("/welcome").text
        assert f'href="{DAGSTER}"' in page
        assert "as a platform operator" in page
        assert "no organization" in page

    def test_who_belongs_nowhere_gets_none(self, anonymous, user):
        log_in(anonymous)
        assert DAGSTER not in anonymous.get("/welcome").text

    def test_its_policy_is_strict(self, anonymous: TestClient, user):
        log_in(anonymous)
        first, second = anonymous.get("/welcome"), anonymous.get("/welcome")
        policy = directives(first)
        assert policy["default-src"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert "script-src" not in policy
        assert policy["style-src"] != directives(second)["style-src"]
        assert first.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("cookie", [None, "x.y.z"])
    def test_leads_to_the_login_page_without_a_session(self, anonymous, cookie: str | None):
        headers = {"Cookie": f"datanika_session={cookie}"} if cookie else {}
        answer = anonymous.get("/welcome", headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")

    def test_takes_no_access_token(self, client: TestClient):
        assert client.get("/welcome", follow_redirects=False).status_code == 303

    def test_signs_out(self, anonymous: TestClient, user):
        log_in(anonymous)
        anonymous.post("/logout")
        assert anonymous.get("/welcome", follow_redirects=False).status_code == 303


class TestPlainHttp:
    def test_the_login_page_says_that_it_needs_tls(self, make_settings, app, user):
        app.state.settings = make_settings(public_url="http://data.lan:8700")
        with TestClient(app, base_url="http://data.lan:8700") as client:
            assert "Secure" in log_in(client).headers["set-cookie"]
            page = client.get("/login", params={"next": DAGSTER}).text
            assert 'role="alert"' in page
            assert "https" in page
            assert "DATANIKA_PUBLIC_URL" in page
            refused = log_in(client, password="wrong" * 4).text
            assert "is wrong" in refused
            assert "https" in refused

    def test_and_says_nothing_where_cookies_are_kept(self, anonymous: TestClient):
        assert 'role="alert"' not in anonymous.get("/login").text
