"""reCAPTCHA v3 against a real HTTP server: what passes, and that everything else is refused."""

import logging
import secrets
from collections.abc import Iterator

import pytest

from control_plane.access.captcha.service import Captcha, CaptchaAction
from tests.control_plane.access.captcha_server import SECRET, CaptchaServer, captcha_server
from tests.control_plane.access.conftest import PASSWORD, Door
from tests.fixtures.ports import free_port

SITE_KEY = "site-key"


@pytest.fixture
def google() -> Iterator[CaptchaServer]:
    with captcha_server() as server:
        yield server


@pytest.fixture
def guarded(open_door, google: CaptchaServer) -> Door:
    return open_door(**keys(google.url))


def keys(url: str) -> dict[str, str]:
    return {
        "RECAPTCHA_SITE_KEY": SITE_KEY,
        "RECAPTCHA_SECRET_KEY": SECRET,
        "recaptcha_url": url,
    }


def log_in(door: Door, token: str | None = "good token", email: str = "nobody@example.com"):
    body = {"email": email, "password": PASSWORD}
    if token is not None:
        body["captcha_token"] = token
    return door.from_elsewhere().post("/api/v1/auth/login", json=body)


def assert_refused(answer, status: int = 403, code: str = "captcha_failed") -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


class TestWhatPasses:
    def test_a_person(self, guarded: Door, google: CaptchaServer):
        google.answer["action"] = "signup"
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email, "password": PASSWORD, "org_name": "Acme", "captcha_token": "good"}
        answer = guarded.from_elsewhere("192.0.2.9").post("/api/v1/auth/signup", json=body)
        assert answer.status_code == 201
        assert google.asked == [{"secret": SECRET, "response": "good", "remoteip": "192.0.2.9"}]
        google.answer["action"] = "login"
        assert log_in(guarded, email=email).status_code == 200

    @pytest.mark.parametrize("score", [0.5, 1])
    def test_a_score_that_is_high_enough(self, guarded: Door, google: CaptchaServer, score: float):
        google.answer["score"] = score
        assert log_in(guarded).status_code == 401, "the password was looked at"

    @pytest.mark.parametrize("missing", ["RECAPTCHA_SITE_KEY", "RECAPTCHA_SECRET_KEY"])
    def test_everybody_where_it_is_off(self, open_door, google: CaptchaServer, missing: str):
        settings = {name: value for name, value in keys(google.url).items() if name != missing}
        assert log_in(open_door(**settings), token=None).status_code == 401
        assert google.asked == []


class TestWhatIsRefused:
    @pytest.mark.parametrize("token", [None, "", "bad token", "good" * 3000, "\xe4"])
    def test_a_token_that_proves_nothing(self, guarded: Door, token: str | None):
        assert_refused(log_in(guarded, token))

    @pytest.mark.parametrize(
        "change",
        [
            {"score": 0.49},
            {"score": 0},
            {"action": "signup"},
            {"action": ""},
            {"success": False, "error-codes": ["timeout-or-duplicate"]},
        ],
    )
    def test_an_answer_that_is_no_clear_yes(self, guarded: Door, google: CaptchaServer, change):
        google.answer.update(change)
        assert_refused(log_in(guarded))

    def test_an_answer_without_a_score_or_an_action(self, guarded: Door, google: CaptchaServer):
        google.answer = {"success": True}
        assert_refused(log_in(guarded))

    @pytest.mark.parametrize(
        "answer",
        [b"", b"yes", b"[]", b'{"success": "perhaps"}', b'{"success": true, "score": NaN}'],
    )
    def test_an_answer_that_cannot_be_read(self, guarded: Door, google: CaptchaServer, answer):
        google.answer = answer
        assert log_in(guarded).status_code in (403, 503)

    @pytest.mark.parametrize("status", [302, 400, 500, 503])
    def test_an_error(self, guarded: Door, google: CaptchaServer, status: int):
        google.status = status
        assert_refused(log_in(guarded), 503, "captcha_unavailable")

    def test_nobody_there(self, open_door):
        door = open_door(**keys(f"http://127.0.0.1:{free_port()}"))
        assert_refused(log_in(door), 503, "captcha_unavailable")

    def test_sign_up_without_a_token(self, guarded: Door):
        body = {"email": "a@example.com", "password": PASSWORD, "org_name": "Acme"}
        assert_refused(guarded.from_elsewhere().post("/api/v1/auth/signup", json=body))

    def test_a_robot_uses_up_nobodys_account(self, open_door, google: CaptchaServer):
        door = open_door(failed_logins_per_account=1, **keys(google.url))
        email = f"{secrets.token_hex(6)}@example.com"
        for _ in range(3):
            assert_refused(log_in(door, "bad", email))
        assert log_in(door, email=email).status_code == 401

    def test_a_robot_is_throttled_by_its_address(self, open_door, google: CaptchaServer):
        door = open_door(failed_logins_per_address=2, **keys(google.url))
        body = {"email": "a@example.com", "password": PASSWORD}
        statuses = [door.client.post("/api/v1/auth/login", json=body).status_code for _ in range(3)]
        assert statuses == [403, 403, 429]


def test_a_silent_server_refuses_soon(make_settings, google: CaptchaServer, caplog, monkeypatch):
    monkeypatch.setattr("control_plane.access.captcha.service.TIMEOUT_SECONDS", 0.3)
    captcha = Captcha(make_settings(**keys(google.url)))
    google.is_silent = True
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="cannot be verified"):
        captcha.check("good", CaptchaAction.LOGIN, None)
    captcha.close()
    assert SECRET not in caplog.text
    assert SECRET not in repr(captcha)


class TestOnTheLoginPage:
    def test_the_page_has_the_script_and_its_policy_allows_it(self, guarded: Door, google):
        page = guarded.client.get("/login")
        origin = f"http://127.0.0.1:{google.port}"
        assert f'src="{origin}/recaptcha/api.js?render={SITE_KEY}"' in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "script-src 'nonce-" in policy
        assert f"{origin}/recaptcha/" in policy
        assert SECRET not in page.text
        assert "unsafe" not in policy

    def test_the_form_needs_its_token(self, guarded: Door):
        form = {"email": "nobody@example.com", "password": PASSWORD}
        answer = guarded.from_elsewhere().post("/login", data=form)
        assert answer.status_code == 403
        assert "captcha_token" in answer.text
        form["captcha_token"] = "good"
        assert guarded.from_elsewhere().post("/login", data=form).status_code == 401

    def test_without_captcha_no_page_runs_a_script(self, door: Door):
        page = door.client.get("/login")
        assert "<script" not in page.text
        assert "script-src" not in page.headers["Content-Security-Policy"]
