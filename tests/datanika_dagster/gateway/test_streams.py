"""WebSockets, downloads and errors of the orgs' webserver."""

import json
import logging

import pytest
from starlette.websockets import WebSocketDisconnect

from datanika_dagster.gateway import guard, live_sockets
from datanika_dagster.gateway.principal import Role

LOGS = """subscription ($id: ID!) { pipelineRunLogs(runId: $id) { __typename
  ... on PipelineRunLogsSubscriptionSuccess { messages { ... on MessageEvent { message } } }
  ... on PipelineRunLogsSubscriptionFailure { message } } }"""
OUTPUT = """subscription ($key: [String!]!) { capturedLogs(logKey: $key) { stdout } }"""
ORIGIN = {"Origin": "http://testserver"}


def subscribe(ui, query, variables, role=Role.VIEWER, payload=None):
    """Returns the first message that comes of a subscription."""
    headers = ui.cookie(role) | ORIGIN
    with ui.client.websocket_connect("/dagster/graphql", headers=headers) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json()["type"] == "connection_ack"
        start = payload or {"query": query, "variables": variables}
        socket.send_json({"type": "start", "id": "1", "payload": start})
        return socket.receive_json()


class TestSubscriptions:
    def test_an_own_runs_log(self, ui):
        text = json.dumps(subscribe(ui, LOGS, {"id": ui.mine.run.run_id}))
        assert ui.mine.canary in text

    def test_another_orgs_run_is_not_there(self, ui):
        text = json.dumps(subscribe(ui, LOGS, {"id": ui.theirs.run.run_id}))
        assert "PipelineRunLogsSubscriptionFailure" in text
        assert ui.theirs.canary not in text

    def test_own_output(self, ui):
        text = json.dumps(subscribe(ui, OUTPUT, {"key": ui.mine.log_keys[0]}))
        assert ui.mine.canary in text

    @pytest.mark.parametrize("number", range(3), ids=["run", "backfill", "tick"])
    def test_another_orgs_output_is_not_there(self, ui, number):
        text = json.dumps(subscribe(ui, OUTPUT, {"key": ui.theirs.log_keys[number]}))
        assert "not_found" in text
        assert ui.theirs.canary not in text

    @pytest.mark.parametrize(
        "query",
        [
            "mutation { reloadWorkspace { __typename } }",
            "{ version }",
            "subscription { nothing }",
            "subscription { ",
            "subscription { ...a } fragment a on Subscription { ...a }",
            "subscription { capturedLogs { stdout } }",
        ],
    )
    def test_nothing_else_goes_over_a_websocket(self, ui, query):
        answer = subscribe(ui, query, {})
        assert answer["type"] == "error"
        assert "data" not in answer["payload"]

    def test_it_ends_when_the_role_is_taken_away(self, ui, monkeypatch):
        monkeypatch.setattr(live_sockets, "POLL_SECONDS", 0.1)
        monkeypatch.setattr(guard, "POLL_SECONDS", 0.1)
        cookie = ui.control_plane.sign_in(ui.mine.slug, "editor")
        headers = {"Cookie": cookie} | ORIGIN
        with ui.client.websocket_connect("/dagster/graphql", headers=headers) as socket:
            payload = {"query": LOGS, "variables": {"id": ui.mine.run.run_id}}
            socket.send_json({"type": "start", "id": "1", "payload": payload})
            assert socket.receive_json()["type"] == "data"
            ui.control_plane.people[cookie] |= {"role": "viewer"}
            with pytest.raises(WebSocketDisconnect) as end:
                socket.receive_json()
        assert end.value.code == 4403


class TestDownloads:
    def get(self, ui, path, role=Role.VIEWER):
        return ui.client.get(f"/dagster/{path}", headers=ui.cookie(role))

    def test_own_output(self, ui):
        answer = self.get(ui, f"logs/{'/'.join(ui.mine.log_keys[0])}.out".replace(".out", "/out"))
        assert answer.status_code == 200
        assert answer.text == ui.mine.canary

    @pytest.mark.parametrize("number", range(3), ids=["run", "backfill", "tick"])
    def test_another_orgs_output_is_not_there(self, ui, number):
        path = f"logs/{'/'.join(ui.theirs.log_keys[number])}/out"
        assert self.get(ui, path, None).status_code == 200  # the operator's
        answer = self.get(ui, path)
        assert answer.status_code == 404
        assert ui.theirs.canary not in answer.text

    @pytest.mark.parametrize(
        "path",
        [
            "{run}/compute_logs/../../{other}/compute_logs/step/out",
            "{run}/compute_logs/%2e%2e/%2e%2e/{other}/compute_logs/step/out",
            "{run}/..%2f{other}/compute_logs/step/out",
            "{run}%2f..%2f{other}%2fcompute_logs%2fstep/out",
            "../../../../etc/passwd",
            "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            "{run}/%00/out",
            "{run}/compute_logs/step/passwd",
            "out",
            "",
        ],
    )
    def test_no_path_leads_out(self, ui, path):
        named = path.format(run=ui.mine.run.run_id, other=ui.theirs.run.run_id)
        answer = self.get(ui, f"logs/{named}")
        assert ui.theirs.canary not in answer.text
        assert "root:" not in answer.text
        assert answer.status_code in {200, 404}
        assert answer.status_code == 404 or "<html" in answer.text

    def test_a_debug_file_is_of_an_own_run(self, ui):
        assert self.get(ui, f"download_debug/{ui.theirs.run.run_id}", None).status_code == 200
        assert self.get(ui, f"download_debug/{ui.mine.run.run_id}").status_code == 200
        assert self.get(ui, f"download_debug/{ui.theirs.run.run_id}").status_code == 404

    @pytest.mark.parametrize("role", Role)
    def test_routes_that_are_nobodys(self, ui, role):
        for path in ("notebook", "dagit/notebook"):
            assert self.get(ui, f"{path}?path=x.ipynb&repoLocName=x", role).status_code == 403
        for kind in ("materialization", "check", "observation"):
            answer = ui.client.post(
                f"/dagster/report_asset_{kind}/{ui.mine.slug}/x",
                json={"asset_key": f"{ui.theirs.slug}/x"},
                headers=ui.cookie(role),
            )
            assert answer.status_code == 403

    def test_what_is_the_same_for_all_needs_a_login(self, ui):
        assert self.get(ui, "server_info").json()["dagster_version"]
        assert ui.client.get("/dagster/server_info", headers={}).status_code == 401


class TestErrors:
    BREAK = """query ($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { __typename } }"""

    def test_a_failure_is_told_without_its_cause(self, ui, monkeypatch, caplog):
        cause = "SELECT secret FROM /srv/path/of/host"

        def fail(*_, **__):
            raise RuntimeError(cause)

        monkeypatch.setattr("dagster._core.instance.DagsterInstance.get_run_by_id", fail)
        monkeypatch.setattr("dagster._core.instance.DagsterInstance.get_run_record_by_id", fail)
        query = "query ($id: ID!) { runGroupOrError(runId: $id) { __typename } }"
        monkeypatch.setattr("dagster._core.instance.DagsterInstance.get_run_group", fail)
        asked = [
            ui.post(
                "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }",
                {"id": ui.mine.run.run_id},
            ),
            ui.post(query, {"id": ui.mine.run.run_id}),
            ui.post(
                """query ($id: ID!) { logsForRun(runId: $id) { __typename
                ... on PythonError { message stack className cause { message }
                  causes { message } errorChain { error { message stack } } } } }""",
                {"id": ui.mine.run.run_id},
            ),
        ]
        for answer in asked:
            assert cause not in answer.text
            assert "Traceback" not in answer.text
            assert "site-packages" not in answer.text
        with caplog.at_level(logging.ERROR):
            answer = ui.post(
                "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }",
                {"id": ui.mine.run.run_id},
            )
        (error,) = answer.json()["errors"]
        assert error["extensions"]["reference"] in caplog.text

    def test_an_operator_sees_it(self, ui, monkeypatch):
        def fail(*_, **__):
            raise RuntimeError("the cause")

        monkeypatch.setattr("dagster._core.instance.DagsterInstance.get_run_record_by_id", fail)
        query = """query ($id: ID!) { logsForRun(runId: $id) { __typename
          ... on PythonError { message } } }"""
        assert "the cause" in ui.post(query, {"id": ui.mine.run.run_id}, None).text

    def test_a_query_that_is_wrong_is_told_why(self, ui):
        answer = ui.post("{ nothing }")
        assert answer.status_code == 400
        assert "Cannot query field 'nothing'" in answer.text
