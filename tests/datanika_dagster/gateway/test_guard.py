"""Who gets through to Dagster's webserver, and in which form."""

import time

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from datanika_dagster.gateway import guard as guard_module
from datanika_dagster.gateway import live_sockets
from datanika_dagster.gateway.guard import Guard, Webservers
from datanika_dagster.gateway.origins import Addresses
from datanika_dagster.gateway.principal import PRINCIPAL, Role
from datanika_dagster.gateway.sessions import Sessions
from tests.datanika_dagster.support.control_plane_stand_in import (
    MEMBER_COOKIE,
    OPERATOR_COOKIE,
    ControlPlaneStandIn,
    serve,
)

ORIGIN = "http://dagster.example"
QUERY = {"query": "{ version }"}


@pytest.fixture
def control_plane():
    with serve(ControlPlaneStandIn()) as stand_in:
        yield stand_in


async def page(request):
    if request.url.path == "/dagster/echo":
        return JSONResponse(dict(request.headers))
    return PlainTextResponse("let through")


async def stream(websocket):
    await websocket.accept()
    await websocket.close()


async def open_stream(websocket):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def own_page(request):
    return PlainTextResponse(f"{request.scope[PRINCIPAL].org} as {request.scope[PRINCIPAL].role}")


def guarded(url, *, cache_seconds=5.0):
    app = Starlette(
        routes=[
            WebSocketRoute("/dagster/graphql", stream),
            Route("/{path:path}", page, methods=["GET", "POST", "DELETE"]),
        ]
    )
    of_orgs = Starlette(
        routes=[
            WebSocketRoute("/dagster/graphql", open_stream),
            Route("/{path:path}", own_page, methods=["GET", "POST"]),
        ]
    )
    addresses = Addresses("http://control.example/login", f"{ORIGIN}/dagster")
    guard = Guard(Webservers(app, of_orgs), Sessions(url, cache_seconds), addresses)
    return TestClient(guard, base_url=ORIGIN, follow_redirects=False)


@pytest.fixture
def client(control_plane):
    return guarded(control_plane.url)


def operator(**headers):
    return {"Cookie": OPERATOR_COOKIE} | headers


class TestWho:
    def test_an_operator_passes(self, client):
        assert client.get("/dagster/runs", headers=operator()).text == "let through"

    def test_the_control_plane_passes(self, client):
        token = {"Authorization": "Bearer service-control-plane"}
        assert client.post("/dagster/graphql", json=QUERY, headers=token).status_code == 200

    def test_a_person_without_a_session_is_sent_to_log_in_and_comes_back(self, client):
        answer = client.get("/dagster/runs?tab=all", headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"] == (
            "http://control.example/login?next=http%3A%2F%2Fdagster.example%2Fdagster%2Fruns%3Ftab%3Dall"
        )

    @pytest.mark.parametrize(
        "headers", [{}, {"Cookie": "datanika_session=forged"}, {"Authorization": "Bearer x"}]
    )
    def test_a_program_without_a_session_is_told_so(self, client, headers):
        answer = client.post("/dagster/graphql", json=QUERY, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "session.missing"

    @pytest.mark.parametrize("path", ["/dagster/", "/dagster/graphql", "/dagster/logs/x", "/"])
    def test_somebody_who_works_in_no_org_is_refused(self, client, path):
        answer = client.get(path, headers={"Cookie": MEMBER_COOKIE, "Accept": "text/html"})
        assert answer.status_code == 403
        assert 'href="http://control.example/welcome"' in answer.text
        assert client.get(path, headers={"Cookie": MEMBER_COOKIE}).json()["code"]

    @pytest.mark.parametrize("role", Role)
    def test_somebody_in_an_org_comes_to_its_webserver(self, client, control_plane, role):
        cookie = control_plane.sign_in("acme", role)
        answer = client.get("/dagster/runs", headers={"Cookie": cookie})
        assert answer.text == f"acme as {role}"

    @pytest.mark.parametrize(
        "changes",
        [{"role": "superuser"}, {"org": "../x"}, {"org_id": None}, {"org": None}, {"kind": "x"}],
    )
    def test_an_answer_that_is_not_understood_lets_nobody_through(
        self, client, control_plane, changes
    ):
        cookie = control_plane.sign_in("acme", "owner")
        control_plane.people[cookie] |= changes
        assert client.get("/dagster/runs", headers={"Cookie": cookie}).status_code == 403

    def test_who_switches_sees_the_other_org(self, control_plane):
        client = guarded(control_plane.url, cache_seconds=0)
        cookie = control_plane.sign_in("acme", "viewer")
        assert client.get("/dagster/", headers={"Cookie": cookie}).text == "acme as viewer"
        control_plane.people[cookie] |= {"org": "beta", "role": "admin", "org_id": 2}
        assert client.get("/dagster/", headers={"Cookie": cookie}).text == "beta as admin"

    def test_no_header_makes_a_principal(self, client):
        headers = {PRINCIPAL: "acme", "Accept": "*/*"}
        assert client.get("/dagster/runs", headers=headers).status_code == 401

    def test_a_service_that_has_no_business_here_is_refused(self, client):
        token = {"Authorization": "Bearer service-launcher"}
        assert client.post("/dagster/graphql", json=QUERY, headers=token).status_code == 403

    def test_nobody_passes_while_nobody_can_say_who_they_are(self):
        answer = guarded("http://127.0.0.1:9").get("/dagster/", headers=operator())
        assert answer.status_code == 503

    def test_liveness_needs_no_session(self, client, control_plane):
        assert client.get("/dagster/_health").json() == {"status": "ok"}
        assert control_plane.sessions_asked == 0

    @pytest.mark.parametrize(
        "path", ["/dagster/_health/", "/dagster/_healthx", "//dagster/_health"]
    )
    def test_nothing_else_does(self, client, path):
        assert client.get(path).status_code == 401


class TestForm:
    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/graphql", "application/x-www-form-urlencoded", ""]
    )
    def test_graphql_is_json(self, client, media_type):
        answer = client.post(
            "/dagster/graphql?query={version}",
            content=b'{"query": "{ version }"}',
            headers=operator(**{"Content-Type": media_type}),
        )
        assert answer.status_code == 415

    def test_a_media_type_that_only_contains_json_is_not_json(self, client):
        headers = operator(**{"Content-Type": "text/plain; x=application/json"})
        assert client.post("/dagster/graphql", content=b"{}", headers=headers).status_code == 415

    @pytest.mark.parametrize("accept", ["text/html", "*/*"])
    def test_graphql_is_not_answered_by_get(self, client, accept):
        headers = operator(Accept=accept)
        answer = client.get("/dagster/graphql?query={version}", headers=headers)
        assert answer.status_code == 405

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://dagster.example:1"])
    def test_another_sites_page_is_refused(self, client, origin):
        answer = client.post("/dagster/graphql", json=QUERY, headers=operator(Origin=origin))
        assert answer.status_code == 403
        assert answer.json()["code"] == "request.origin"

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
    @pytest.mark.parametrize("origin", [{}, {"Origin": ORIGIN}])
    def test_nor_does_an_old_browser_hide_one(self, client, site, origin):
        headers = operator(**{"Sec-Fetch-Site": site}, **origin)
        answer = client.post("/dagster/graphql", json=QUERY, headers=headers)
        assert answer.json()["code"] == "request.origin"

    @pytest.mark.parametrize(
        "media_type",
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
    )
    @pytest.mark.parametrize(
        "path", ["/dagster/report_asset_materialization/a", "/dagster/anything"]
    )
    def test_no_form_changes_anything_anywhere(self, client, path, media_type):
        headers = operator(**{"Content-Type": media_type})
        answer = client.post(f"{path}?asset_key=a", content=b"{}", headers=headers)
        assert answer.status_code == 415
        answer = client.delete(path, headers=operator())
        assert answer.status_code == 415

    def test_our_own_pages_are_not(self, client):
        answer = client.post("/dagster/graphql", json=QUERY, headers=operator(Origin=ORIGIN))
        assert answer.status_code == 200


class TestWebSocket:
    def test_an_operators_is_accepted(self, client):
        with client.websocket_connect(
            "ws://dagster.example/dagster/graphql", headers=operator(Origin=ORIGIN)
        ):
            pass

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({}, 4401),
            ({"Cookie": MEMBER_COOKIE}, 4403),
            ({"Cookie": OPERATOR_COOKIE, "Origin": "http://evil.example"}, 4403),
            ({"Cookie": OPERATOR_COOKIE, "Origin": "null"}, 4403),
            ({"Cookie": OPERATOR_COOKIE, "Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 4403),
            # Every browser names the origin of a WebSocket.
            ({"Cookie": OPERATOR_COOKIE}, 4403),
        ],
    )
    def test_others_are_refused_at_the_handshake(self, client, headers, code):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect("ws://dagster.example/dagster/graphql", headers=headers),
        ):
            pass
        assert refused.value.code == code

    def test_a_programs_with_a_token_needs_no_page(self, client):
        token = {"Authorization": "Bearer service-control-plane"}
        with client.websocket_connect("ws://dagster.example/dagster/graphql", headers=token):
            pass


class TestLiveSocket:
    """A subscription outlives its request: it ends with what it was opened with."""

    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch):
        monkeypatch.setattr(live_sockets, "POLL_SECONDS", 0.1)
        monkeypatch.setattr(guard_module, "POLL_SECONDS", 0.1)

    def closed_with(self, client, cookie, change):
        with client.websocket_connect(
            "ws://dagster.example/dagster/graphql", headers={"Cookie": cookie, "Origin": ORIGIN}
        ) as socket:
            socket.send_text("still here")
            assert socket.receive_text() == "still here"
            time.sleep(0.4)
            socket.send_text("still here")
            assert socket.receive_text() == "still here"
            change()
            with pytest.raises(WebSocketDisconnect) as end:
                socket.receive_text()
        return end.value.code

    def test_ends_when_the_session_ends(self, client, control_plane):
        cookie = control_plane.sign_in("acme", "viewer")
        assert self.closed_with(client, cookie, lambda: control_plane.people.clear()) == 4401

    @pytest.mark.parametrize(
        "changes",
        [
            {"role": "viewer"},
            {"org": "beta", "org_id": 2},
            {"org": None, "org_id": None, "role": None, "permissions": None},
            {"permissions": []},
            {"is_platform_operator": True},
        ],
    )
    def test_ends_when_its_opener_is_something_else(self, client, control_plane, changes):
        cookie = control_plane.sign_in("acme", "admin")
        person = control_plane.people[cookie]
        assert self.closed_with(client, cookie, lambda: person.update(changes)) == 4403

    def test_ends_when_nobody_can_say_any_more(self, client, control_plane, monkeypatch):
        monkeypatch.setattr(live_sockets, "UNKNOWN_SECONDS", 0.3)
        cookie = control_plane.sign_in("acme", "admin")

        def fail(_):
            return 503, {}

        change = lambda: monkeypatch.setattr(control_plane, "_session", fail)  # noqa: E731
        assert self.closed_with(client, cookie, change) == 4401


class TestHost:
    @pytest.mark.parametrize(
        "host",
        ["evil.example", "dagster.example.evil.example", "10.0.0.1", "", "[::1", "127.0.0.1.evil"],
    )
    def test_another_name_for_this_server_is_refused(self, client, host):
        """Also together with the origin that a rebound page has."""
        headers = operator(Host=host, Origin=f"http://{host}")
        for answer in (
            client.get("/dagster/", headers=headers),
            client.post("/dagster/graphql", json=QUERY, headers=headers),
        ):
            assert answer.status_code == 421
            assert answer.json()["code"] == "request.host"

    @pytest.mark.parametrize(
        "host",
        ["dagster.example", "DAGSTER.example:8701", "control.example", "localhost:9", "[::1]:1"],
    )
    def test_the_public_names_and_this_machine_are_not(self, client, host):
        assert client.get("/dagster/", headers=operator(Host=host)).status_code == 200

    def test_a_tunnels_page_is_our_own(self, client):
        headers = operator(Host="127.0.0.1:9999", Origin="http://127.0.0.1:9999")
        assert client.post("/dagster/graphql", json=QUERY, headers=headers).status_code == 200
        headers = operator(Host="127.0.0.1:9999", Origin="http://127.0.0.1:1")
        assert client.post("/dagster/graphql", json=QUERY, headers=headers).status_code == 403

    def test_our_own_processes_use_names_of_their_network(self, client):
        token = {"Authorization": "Bearer service-control-plane", "Host": "gateway:8701"}
        assert client.post("/dagster/graphql", json=QUERY, headers=token).status_code == 200


class TestAnswers:
    @pytest.mark.parametrize("headers", [operator(), {}, operator(Host="evil.example")])
    def test_have_the_security_headers(self, client, headers):
        answer = client.get("/dagster/", headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]

    def test_dagster_never_sees_a_session(self, client):
        for shown in (operator(), {"Authorization": "Bearer service-control-plane"}):
            answer = client.get("/dagster/echo", headers=shown | {"X-Other": "kept"})
            assert answer.json().get("x-other") == "kept"
            assert not {"cookie", "authorization"} & answer.json().keys()

    def test_no_session_is_logged(self, client, caplog):
        caplog.set_level("DEBUG")
        client.get("/dagster/?secret=canary-query", headers=operator())
        client.post("/dagster/graphql", json=QUERY, headers=operator(Origin="null"))
        ours = [record.getMessage() for record in caplog.records if record.name != "httpx2"]
        assert OPERATOR_COOKIE.split("=")[1] not in " ".join(ours)


class TestMemory:
    def test_reading_asks_once_for_a_while(self, client, control_plane):
        for _ in range(3):
            client.get("/dagster/runs", headers=operator())
        assert control_plane.sessions_asked == 1

    def test_what_changes_something_asks_each_time(self, client, control_plane):
        for _ in range(3):
            client.post("/dagster/graphql", json=QUERY, headers=operator())
        assert control_plane.sessions_asked == 4

    def test_one_callers_answer_is_not_anothers(self, client):
        assert client.get("/dagster/", headers=operator()).status_code == 200
        assert client.get("/dagster/", headers={"Cookie": MEMBER_COOKIE}).status_code == 403

    def test_of_people_in_orgs_the_control_plane_is_asked_by_each_mutation(
        self, client, control_plane
    ):
        headers = {"Cookie": control_plane.sign_in("acme", "editor")}
        for _ in range(3):
            client.post("/dagster/graphql", json=QUERY, headers=headers)
        assert control_plane.sessions_asked == 1

    def test_a_session_that_ended_is_noticed(self, control_plane, monkeypatch):
        client = guarded(control_plane.url, cache_seconds=0.2)
        assert client.get("/dagster/", headers=operator()).status_code == 200
        monkeypatch.setattr(control_plane, "_session", lambda _: (401, {"detail": "Sign in."}))
        time.sleep(0.3)
        assert client.get("/dagster/", headers=operator()).status_code == 401
