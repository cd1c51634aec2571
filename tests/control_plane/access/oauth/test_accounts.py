"""Which account a sign-in by a provider opens, and what it ends there."""

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import event, select, update

from control_plane.access.invitation_store.models import Invitation
from control_plane.access.key_store.models import ApiKey
from control_plane.access.oauth.models import OAuthIdentity
from control_plane.access.password_resets.models import PasswordReset
from control_plane.access.permissions import Role
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.core.clock import utc_now
from control_plane.core.tokens import hash_token
from control_plane.core.trust import public_authorities
from control_plane.keys.keyring import make_vault
from control_plane.settings import KeyProviderKind, SignUpMode
from control_plane.tenancy.models import Organization
from tests.control_plane.access.oauth.conftest import (
    PASSWORD,
    Browser,
    Platform,
    error_of,
)


def log_in(platform: Platform, email: str) -> int:
    answer = httpx.post(
        f"{platform.url}/api/v1/auth/login",
        json={"email": email, "password": PASSWORD},
        trust_env=False,
        verify=public_authorities(),
    )
    return answer.status_code


@contextmanager
def entered_orgs(platform: Platform) -> Generator[set[str]]:
    """The orgs that transactions of the control plane enter meanwhile."""
    engine = platform.app.state.session_factory.kw["bind"]
    entered: set[str] = set()

    def note(_connection, _cursor, statement: str, parameters: dict, *_rest: object) -> None:
        if "set_config" in statement:
            entered.add(parameters.get("value", ""))

    event.listen(engine, "after_cursor_execute", note)
    yield entered
    event.remove(engine, "after_cursor_execute", note)


def change_user(platform: Platform, user_id: int, **values: object):
    with platform.transaction() as session:
        session.execute(update(User).where(User.id == user_id).values(**values))


class TestPreHijacking:
    """An attacker signs up with the victim's address and waits for the victim."""

    @pytest.fixture
    def account(self, platform: Platform) -> dict:
        """The attacker's account, in the victim's name, with everything that it can give out."""
        email = platform.as_person("google").email
        account = platform.sign_up(email)
        token, org = account["access_token"], account["org"]["slug"]
        made = platform.call(
            "POST", f"/orgs/{org}/api-keys", token, json={"name": "k", "scopes": ["orgs:read"]}
        )
        assert made.status_code == 201, made.text
        account["api_key"] = made.json()["key"]
        account["reset"] = secrets.token_urlsafe(32)
        with platform.transaction(account["org"]["id"]) as session:
            user_id = account["user"]["id"]
            later = utc_now() + timedelta(hours=1)
            session.add(
                PasswordReset(
                    user_id=user_id,
                    token_hash=hash_token(account["reset"]),
                    is_mailed=False,
                    expires_at=later,
                )
            )
            session.add(
                Invitation(
                    org_id=account["org"]["id"],
                    email="second@example.com",
                    role="owner",
                    token_hash=secrets.token_hex(32),
                    invited_by_user_id=user_id,
                    expires_at=later,
                )
            )
        return account

    def key_works(self, platform: Platform, account: dict) -> bool:
        answer = httpx.get(
            f"{platform.url}/api/v1/orgs/{account['org']['slug']}",
            headers={"X-API-Key": account["api_key"]},
            trust_env=False,
            verify=public_authorities(),
        )
        assert answer.status_code in (200, 401)
        return answer.status_code == 200

    def test_everything_of_the_attackers_ends(self, platform, browser, account):
        cookies = {"datanika_session": self.cookie_of(platform, account)}
        assert self.key_works(platform, account)
        body = browser.tokens("google")
        assert (body["is_new"], body["user"]["id"]) == (False, account["user"]["id"])
        assert log_in(platform, account["user"]["email"]) == 401, "password"
        me = platform.call("GET", "/auth/me", account["access_token"])
        assert me.status_code == 401, "access token"
        renewed = httpx.post(
            f"{platform.url}/api/v1/auth/refresh",
            json={"refresh_token": account["refresh_token"]},
            trust_env=False,
            verify=public_authorities(),
        )
        assert renewed.status_code == 401, "refresh token"
        seen = httpx.get(
            f"{platform.url}/internal/v1/session",
            cookies=cookies,
            trust_env=False,
            verify=public_authorities(),
        )
        assert seen.status_code == 401, "cookie"
        assert not self.key_works(platform, account)
        with platform.transaction(account["org"]["id"]) as session:
            reset = PasswordReset.token_hash == hash_token(account["reset"])
            assert session.scalar(select(PasswordReset.used_at).where(reset)) is not None
            assert all(session.scalars(select(Invitation.revoked_at)).all())
            assert all(session.scalars(select(ApiKey.revoked_at)).all())

    def test_the_victim_keeps_the_org_and_sees_what_happened(self, platform, browser, account):
        body = browser.tokens("google")
        assert [org["slug"] for org in body["orgs"]] == [account["org"]["slug"]]
        with platform.transaction(account["org"]["id"]) as session:
            rows = session.execute(
                select(AuditEntry.action, AuditEntry.resource_type).order_by(AuditEntry.id)
            ).all()
        recorded = [tuple(row) for row in rows]
        for entry in (("revoke", "api_key"), ("revoke", "invitation"), ("link", "user")):
            assert entry in recorded
        with platform.transaction() as session:
            new = session.scalar(
                select(PlatformAuditEntry.new_values).where(
                    PlatformAuditEntry.action == "link",
                    PlatformAuditEntry.actor_id == body["user"]["id"],
                )
            )
            user = session.get_one(User, body["user"]["id"])
        assert new == {"provider": "google", "ended_earlier_credentials": True}
        assert user.password_hash is None
        assert user.email_verified_at is not None

    def test_everything_ends_in_a_suspended_org(self, platform, browser, account):
        with platform.transaction(account["org"]["id"]) as session:
            session.execute(update(Organization).values(is_suspended=True))
        browser.tokens("google")
        with platform.transaction(account["org"]["id"]) as session:
            assert all(session.scalars(select(ApiKey.revoked_at)).all())
            assert all(session.scalars(select(Invitation.revoked_at)).all())

    def test_an_org_that_the_account_has_left_is_not_visited(self, platform, browser, account):
        """Nothing is open there: the key ended with the membership, and so did the invitation."""
        other = platform.sign_up(f"{secrets.token_hex(6)}@example.com")
        org, user_id = f"/orgs/{other['org']['slug']}", account["user"]["id"]
        with platform.transaction(other["org"]["id"]) as session:
            UserRepository(session).add_membership(other["org"]["id"], user_id, Role.ADMIN)
        token = account["access_token"]
        made = {"name": "k", "scopes": ["orgs:read"]}
        key = platform.call("POST", f"{org}/api-keys", token, json=made).json()["key"]
        invited = {"email": f"{secrets.token_hex(6)}@example.com", "role": "viewer"}
        link = platform.call("POST", f"{org}/invitations", token, json=invited).json()["link"]
        left = platform.call("DELETE", f"{org}/members/{user_id}", other["access_token"])
        assert left.status_code == 204
        with entered_orgs(platform) as entered:
            browser.tokens("google")
        assert str(account["org"]["id"]) in entered
        assert str(other["org"]["id"]) not in entered
        assert not self.key_works(platform, {"org": other["org"], "api_key": key})
        with platform.transaction(other["org"]["id"]) as session:
            assert all(session.scalars(select(ApiKey.revoked_at)).all())
        body = {"token": link.partition("#token=")[2], "password": PASSWORD}
        accept = f"{platform.url}/api/v1/auth/invitations/accept"
        accepted = httpx.post(accept, json=body, trust_env=False, verify=public_authorities())
        assert accepted.status_code == 404, accepted.text

    def test_happens_once(self, platform: Platform, browser: Browser, account):
        tokens = browser.tokens("google")
        platform.github.person = platform.google.person
        again = platform.browser().tokens("github")
        assert again["user"]["id"] == tokens["user"]["id"]
        me = platform.call("GET", "/auth/me", tokens["access_token"])
        assert me.status_code == 200, "the rightful owner's session goes on"

    def test_a_login_at_the_same_moment_does_not_survive(self, platform, browser, account):
        email, stop = account["user"]["email"], threading.Event()
        tokens: list[str] = []

        def keep_logging_in():
            while not stop.is_set():
                answer = httpx.post(
                    f"{platform.url}/api/v1/auth/login",
                    json={"email": email, "password": PASSWORD},
                    trust_env=False,
                    verify=public_authorities(),
                )
                if answer.status_code == 200:
                    tokens.append(answer.json()["access_token"])

        threads = [threading.Thread(target=keep_logging_in) for _ in range(3)]
        for thread in threads:
            thread.start()
        while not tokens:
            stop.wait(0.01)
        browser.tokens("google")
        stop.wait(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        for token in tokens:
            assert platform.call("GET", "/auth/me", token).status_code == 401

    def test_other_members_keys_stay(self, platform: Platform, browser: Browser, account):
        other = platform.sign_up(f"{secrets.token_hex(6)}@example.com")
        made = platform.call(
            "POST",
            f"/orgs/{other['org']['slug']}/api-keys",
            other["access_token"],
            json={"name": "k", "scopes": ["orgs:read"]},
        ).json()
        browser.tokens("google")
        assert self.key_works(platform, {"org": other["org"], "api_key": made["key"]})

    @staticmethod
    def cookie_of(platform: Platform, account: dict) -> str:
        answer = httpx.post(
            f"{platform.url}/api/v1/auth/login",
            json={"email": account["user"]["email"], "password": PASSWORD},
            trust_env=False,
            verify=public_authorities(),
        )
        return answer.cookies["datanika_session"]


class TestLink:
    def test_a_verified_account_keeps_password_and_sessions(self, platform, browser):
        email = platform.as_person("github").email
        account = platform.sign_up(email)
        change_user(platform, account["user"]["id"], email_verified_at=utc_now())
        body = browser.tokens("github")
        assert (body["is_new"], body["user"]["id"]) == (False, account["user"]["id"])
        assert platform.call("GET", "/auth/me", account["access_token"]).status_code == 200
        assert log_in(platform, email) == 200

    @pytest.mark.parametrize("provider", ["google", "github"])
    def test_an_unverified_address_opens_and_makes_nothing(self, platform, browser, provider):
        email = platform.as_person(provider, is_email_verified=False).email
        assert error_of(browser.sign_in(provider)) == "oauth_email_unverified"
        page = browser.sign_in(provider, "/docs")
        assert page.status_code == 403
        assert "has not verified" in page.text
        account = platform.sign_up(email)
        assert error_of(browser.sign_in(provider)) == "oauth_email_unverified"
        assert log_in(platform, email) == 200
        assert self.identities_of(platform, account["user"]["id"]) == []

    @pytest.mark.parametrize(
        "claims",
        [{"email_verified": "true"}, {"email_verified": 1}, {"email_verified": None}],
        ids=str,
    )
    def test_only_true_is_verified(self, platform: Platform, browser: Browser, claims):
        platform.google.claims = claims
        assert error_of(browser.sign_in("google")) == "oauth_email_unverified"

    @pytest.mark.parametrize("email", ["", "no address", "a@b\n@example.com", 7, None, ["a@b.c"]])
    def test_addresses_that_are_none_are_refused(self, platform, browser, email):
        platform.google.claims = {"email": email}
        assert error_of(browser.sign_in("google")) == "oauth_email_unverified"

    def test_an_address_that_was_given_to_somebody_else_is_refused(self, platform, browser):
        """The same provider, the same address, another account: not the same person."""
        first = browser.tokens("google")
        heir = platform.as_person("google", email=first["user"]["email"])
        assert error_of(platform.browser().sign_in("google")) == "oauth_link_refused"
        assert heir.subject not in self.identities_of(platform, first["user"]["id"])

    def test_an_operators_unverified_account_is_not_taken_over(self, platform, browser):
        email = platform.as_person("google").email
        account = platform.sign_up(email)
        change_user(platform, account["user"]["id"], is_platform_operator=True)
        assert error_of(browser.sign_in("google")) == "oauth_link_refused"
        assert log_in(platform, email) == 200, "its password is untouched"
        change_user(platform, account["user"]["id"], email_verified_at=utc_now())
        assert browser.tokens("google")["user"]["id"] == account["user"]["id"]

    def test_a_removed_account_is_not_opened(self, platform: Platform, browser: Browser):
        account = platform.sign_up(platform.as_person("google").email)
        change_user(platform, account["user"]["id"], deleted_at=utc_now())
        assert error_of(browser.sign_in("google")) == "oauth_link_refused"

    def test_two_first_sign_ins_at_once_make_one_account(self, platform: Platform):
        browsers = [platform.browser() for _ in range(4)]
        urls = [browser.consent(browser.start("google")) for browser in browsers]
        barrier = threading.Barrier(len(browsers))
        answers = []

        def race(browser: Browser, url: str):
            barrier.wait()
            answers.append(browser.visit(url))

        pairs = zip(browsers, urls, strict=True)
        threads = [threading.Thread(target=race, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        locations = [answer.headers["location"] for answer in answers]
        assert all("?code=" in location for location in locations), locations
        with platform.transaction() as session:
            subject = platform.google.person.subject
            found = session.scalars(select(OAuthIdentity).where(OAuthIdentity.subject == subject))
            assert len(found.all()) == 1

    @staticmethod
    def identities_of(platform: Platform, user_id: int) -> list[str]:
        with platform.transaction() as session:
            statement = select(OAuthIdentity.subject).where(OAuthIdentity.user_id == user_id)
            return list(session.scalars(statement))


class TestNewAccounts:
    @pytest.fixture
    def closed(self, platform: Platform, monkeypatch: pytest.MonkeyPatch):
        platform.with_settings(monkeypatch, sign_up=SignUpMode.CLOSED)

    @pytest.mark.usefixtures("closed")
    def test_are_refused_where_sign_up_is_closed(self, platform: Platform, browser: Browser):
        assert error_of(browser.sign_in("google")) == "forbidden"
        page = browser.sign_in("google", "/docs")
        assert page.status_code == 403
        assert "open the link of the invitation" in page.text
        assert browser.get("/api/v1/auth/providers").json()["sign_up"] == "closed"

    def test_known_ones_pass_where_sign_up_is_closed(self, platform, browser, request):
        first = browser.tokens("google")
        request.getfixturevalue("closed")
        assert platform.browser().tokens("google")["user"] == first["user"]

    def test_count_as_sign_ups(self, platform: Platform, browser: Browser, monkeypatch):
        platform.with_settings(monkeypatch, sign_ups_per_address=0)
        assert error_of(browser.sign_in("google")) == "throttled"

    def test_wait_for_the_keys_of_a_sealed_platform(self, platform, browser, monkeypatch):
        first = browser.tokens("github")
        by_password = {"key_provider": KeyProviderKind.MASTER_PASSWORD, "encryption_keys": None}
        sealed = make_vault(platform.settings.model_copy(update=by_password))
        platform.replace(monkeypatch, vault=sealed)
        assert error_of(browser.sign_in("google")) == "sealed"
        page = browser.sign_in("google", "/docs")
        assert page.status_code == 423
        assert "sealed" in page.text
        assert browser.tokens("github")["user"] == first["user"], "no key is needed to come back"
        monkeypatch.undo()
        assert browser.tokens("google")["is_new"], "and nothing half-made is left"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [(None, None), ("", None), ("\x1b[31m", "[31m"), ("B" * 500, "B" * 200), ("ß 山", "ß 山")],
    )
    def test_orgs_are_called_after_the_person(self, platform, browser, name, expected):
        person = platform.as_person("google", name=name)
        org = browser.tokens("google")["orgs"][0]
        assert org["name"] == (expected or person.email.partition("@")[0])
