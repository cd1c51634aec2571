"""The one-time code: one use, one minute, one browser."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from control_plane.access.housekeeping.service import LINKS_AND_CODES_STAY
from control_plane.access.oauth.attempts import LIFETIME
from control_plane.access.oauth.models import OAuthCode
from control_plane.access.oauth.service import CODE_LIFETIME
from control_plane.access.sessions.models import UserSession
from control_plane.access.users.models import User
from control_plane.core.clock import utc_now
from control_plane.core.tokens import hash_token
from tests.control_plane.access.oauth.conftest import Browser, Platform, query_of


def refused(answer):
    return (answer.status_code, answer.json()["code"]) == (401, "oauth_code_invalid")


def sessions_of(platform: Platform, user_id: int) -> int:
    with platform.transaction() as session:
        statement = select(func.count()).where(UserSession.user_id == user_id)
        return session.scalar(statement.select_from(UserSession)) or 0


class TestExchange:
    def test_works_once(self, platform: Platform, browser: Browser):
        code = browser.code("google")
        assert browser.exchange(code).status_code == 200
        assert refused(browser.exchange(code))
        assert refused(platform.browser().exchange(code))

    def test_of_two_at_once_exactly_one_wins(self, platform: Platform, browser: Browser):
        code = browser.code("google")
        browsers = [platform.browser() for _ in range(8)]
        barrier = threading.Barrier(len(browsers))
        answers = []

        def race(one: Browser):
            barrier.wait()
            answers.append(one.exchange(code))

        threads = [threading.Thread(target=race, args=(one,)) for one in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [answer for answer in answers if answer.status_code == 200]
        assert len(won) == 1
        assert all(refused(answer) for answer in answers if answer is not won[0])
        assert sessions_of(platform, won[0].json()["user"]["id"]) == 1

    def test_works_for_a_minute(self, platform: Platform, browser: Browser):
        assert timedelta(seconds=60) == CODE_LIFETIME
        code = browser.code("google")
        self.change(platform, code, expires_at=utc_now())
        assert refused(browser.exchange(code))

    def test_is_of_no_use_when_the_user_is_gone(self, platform: Platform, browser: Browser):
        user_id = browser.tokens("google")["user"]["id"]
        code = browser.code("google")
        with platform.transaction() as session:
            session.execute(update(User).where(User.id == user_id).values(deleted_at=utc_now()))
        assert refused(browser.exchange(code))
        answer = browser.sign_in("google")
        assert query_of(answer.headers["location"])["error"] == "oauth_link_refused"

    @pytest.mark.parametrize("code", ["", "x", "dto_" + "A" * 43, "é", "\x00", "x" * 200])
    def test_refuses_unknown_codes(self, platform: Platform, browser: Browser, code):
        assert refused(browser.exchange(code))

    @pytest.mark.parametrize(
        "body", [{}, {"code": None}, {"code": "x" * 201}, {"code": "canary-x", "user_id": 1}]
    )
    def test_refuses_other_bodies_without_echo(self, platform: Platform, browser: Browser, body):
        url = f"{platform.url}/api/v1/auth/oauth/exchange"
        answer = browser.http.post(url, json=body)
        assert answer.status_code == 422
        assert "canary" not in answer.text

    def test_refuses_half_a_character(self, platform: Platform, browser: Browser):
        url = f"{platform.url}/api/v1/auth/oauth/exchange"
        headers = {"Content-Type": "application/json"}
        answer = browser.http.post(url, content=rb'{"code": "\ud800"}', headers=headers)
        assert answer.status_code in (401, 422)

    def test_failures_are_throttled_by_address(
        self, platform: Platform, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ):
        code, late = browser.code("google"), browser.consent(browser.start("google"))
        platform.with_settings(monkeypatch, failed_logins_per_address=0)
        answer = browser.exchange(code)
        assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
        assert int(answer.headers["retry-after"]) > 0
        assert query_of(browser.visit(late).headers["location"])["error"] == "throttled"
        monkeypatch.undo()
        assert browser.exchange(code).status_code == 200, "what was throttled was not used up"

    @staticmethod
    def change(platform: Platform, code: str, **values):
        with platform.transaction() as session:
            session.execute(
                update(OAuthCode).where(OAuthCode.code_hash == hash_token(code)).values(**values)
            )


class TestOwnPages:
    def test_a_link_with_somebody_elses_code_signs_nobody_in(self, platform: Platform):
        """Login CSRF: the sender of the link would see what the victim does."""
        attacker, victim = platform.browser(), platform.browser()
        link = attacker.sign_in("google", "/docs").headers["location"]
        answer = victim.visit(link)
        assert answer.status_code == 401
        assert "oauth_code_invalid" in answer.text
        assert victim.http.cookies.get("datanika_session") is None
        # Nor with the cookie of a sign-in of the victim's own.
        victim.sign_in("google", "/docs")
        assert victim.visit(link).status_code == 401

    def test_a_code_for_a_front_end_does_not_open_them(self, platform: Platform, browser: Browser):
        code = browser.code("google")
        assert browser.get("/login/oauth", code=code, next="/docs").status_code == 401
        assert browser.exchange(code).status_code == 200

    def test_a_reload_is_refused_and_the_cookie_gone(self, platform: Platform, browser: Browser):
        link = browser.sign_in("google", "/docs").headers["location"]
        kept = browser.http.cookies.get("datanika_oauth_code")
        assert browser.visit(link).status_code == 303
        assert browser.visit(link).status_code == 401
        browser.http.cookies.set(
            "datanika_oauth_code", kept, domain="127.0.0.1", path="/login/oauth"
        )
        assert browser.visit(link).status_code == 401

    @pytest.mark.parametrize("next_url", ["https://evil.example.com", "//evil.example.com", "\\x"])
    def test_lead_nowhere_else(self, platform: Platform, browser: Browser, next_url: str):
        code = query_of(browser.sign_in("google", "/docs").headers["location"])["code"]
        answer = browser.get("/login/oauth", code=code, next=next_url)
        assert answer.status_code == 422
        assert "location" not in answer.headers

    def test_without_a_code_say_so(self, platform: Platform, browser: Browser):
        assert browser.get("/login/oauth").status_code == 401


def test_codes_are_kept_for_as_long_as_their_state_could_come_back():
    """The row is what makes a state count once, so it outlives the attempt's cookie."""
    assert LINKS_AND_CODES_STAY > LIFETIME
