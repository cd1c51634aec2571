"""The demo's steps behind the start of the stack: each is a call of the public REST API.

It must not know the stack or the control plane's code: a URL and an operator's login are enough.
"""

import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from datanika_stack.api_client import ApiClient, ApiError, tokens_of
from datanika_stack.demo import airline, definitions
from datanika_stack.demo.display import Display
from datanika_stack.polling import wait_for
from datanika_stack.run_following import SUCCESS, follow_run, read_logs

LIVE_TIMEOUT_SECONDS = 90.0
RUN_TIMEOUT_SECONDS = 900.0
WAREHOUSE_TIMEOUT_SECONDS = 60.0
LOG_TAIL_LINES = 15
_CONFLICT = 409


class DemoFailedError(Exception):
    """A step did not do what it should; the message says which, and why."""


@dataclass(frozen=True)
class Person:
    """Somebody who can log in."""

    email: str
    password: str = field(repr=False)


@dataclass
class Journey:
    """From sign-up to a finished run.

    Attributes:
        client: The API; acts as the owner after `sign_up`.
        display: Shows the phases.
        owner: The person who signs up.
        org: Slug of the org, known after `sign_up`.
    """

    client: ApiClient
    display: Display
    owner: Person
    org: str = ""

    def sign_up(self) -> None:
        """Makes the org and its owner; on a home that has them, logs in."""
        credentials = {"email": self.owner.email, "password": self.owner.password}
        try:
            answer = self.client.post(
                "/auth/signup", credentials | {"org_name": definitions.ORG_NAME}
            )
            self.org = answer["org"]["slug"]
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            self._log_in()
            return
        self.client.use(tokens_of(answer))

    def _log_in(self) -> None:
        credentials = {"email": self.owner.email, "password": self.owner.password}
        answer = self.client.post("/auth/login", credentials)
        self.org = answer["orgs"][0]["slug"]
        self.client.use(tokens_of(answer))

    def make_owner_an_operator(self, operator: Person) -> None:
        """Lets the owner see the Dagster UI, which only operators may."""
        with ApiClient(self.client.api_url) as client:
            login = {"email": operator.email, "password": operator.password}
            client.use(tokens_of(client.post("/auth/login", login)))
            made = client.post("/system/operators", {"email": self.owner.email})
            if made["link"] is None:
                return
            # Nobody has proven the owner's address, so the account's password and sessions ended.
            token = made["link"].partition("#token=")[2]
            redemption = {"token": token, "new_password": self.owner.password}
            client.post("/auth/password-resets/redeem", redemption)
            self._log_in()

    def define(self, *, source_port: int, source_password: str) -> None:
        """Makes connections, upload, models, dependency, schedule and freshness policy."""
        connection = definitions.source_connection(port=source_port, password=source_password)
        source = self._ensure("connections", connection, by=("name",))
        if source["config"].get("port") != source_port:
            self.client.patch(
                self._path("connections", source["id"]), {"config": connection["config"]}
            )
        warehouse = self._warehouse()
        for connection_id in (source["id"], warehouse["connection_id"]):
            self._test(connection_id)
        body = definitions.upload(
            source_connection_id=source["id"],
            destination_connection_id=warehouse["connection_id"],
        )
        upload = self._ensure("uploads", body, by=("name",))
        models = [
            self._ensure("transformations", body, by=("name",))
            for body in definitions.transformations()
        ]
        edge = definitions.dependency(upload["id"], models[0]["id"])
        self._ensure("dependencies", edge, by=tuple(edge))
        target = ("target_type", "target_id")
        self._ensure("schedules", definitions.schedule(upload["id"]), by=target)
        self._ensure("freshness-policies", definitions.freshness_policy(upload["id"]), by=target)

    def publish(self) -> str:
        """Publishes and waits until Dagster has loaded the manifest; returns its SHA-256.

        Raises:
            DemoFailedError: Dagster did not load it in time.
        """
        sha256 = self.client.post(self._path("publish"))["sha256"]
        is_live = wait_for(
            lambda: self.client.get(self._path("manifest"))["state"] == "live",
            timeout_seconds=LIVE_TIMEOUT_SECONDS,
        )
        if not is_live:
            raise DemoFailedError(
                f"Dagster has not loaded the manifest within {LIVE_TIMEOUT_SECONDS:g} s."
            )
        return sha256

    def run(self) -> dict[str, Any]:
        """Launches everything that is published and follows it to its end.

        Raises:
            DemoFailedError: The run did not succeed; the message ends with the log's last lines.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        launched = self.client.post(self._path("runs"), {}, headers=headers)
        path = self._path("runs", launched["id"])
        run = follow_run(
            self.client,
            path,
            on_line=lambda line: self.display.note("run", line["message"]),
            timeout_seconds=RUN_TIMEOUT_SECONDS,
        )
        self.display.run_ended(run)
        if run["status"] != SUCCESS:
            raise DemoFailedError(self._explain(run, path))
        return run

    def warehouse_login(self) -> dict[str, Any]:
        """Makes a read-only login of the warehouse: `{user, password, url}`."""
        return self.client.post(self._path("warehouse", "credentials"))

    def _path(self, *parts: object) -> str:
        return "/".join(["/orgs", self.org, *map(str, parts)])

    def _ensure(
        self, collection: str, body: dict[str, Any], *, by: tuple[str, ...]
    ) -> dict[str, Any]:
        """Returns the resource that agrees with `body` in the fields `by`; makes it if missing."""
        for row in self.client.pages(self._path(collection)):
            if all(row.get(name) == body[name] for name in by):
                return row
        return self.client.post(self._path(collection), body)

    def _warehouse(self) -> dict[str, Any]:
        warehouse: dict[str, Any] = {}

        def is_ready() -> bool:
            # A failure is tried again by itself, so only time decides.
            warehouse.update(self.client.get(self._path("warehouse")))
            return warehouse["state"] == "ready"

        if not wait_for(is_ready, timeout_seconds=WAREHOUSE_TIMEOUT_SECONDS):
            reason = warehouse.get("error") or "it is still being made"
            raise DemoFailedError(f"The managed warehouse is not ready: {reason}.")
        return warehouse

    def _test(self, connection_id: int) -> None:
        result = self.client.post(self._path("connections", connection_id, "test"))
        if not result["ok"]:
            raise DemoFailedError(f"Connection test: {result['message']} ({result['code']}).")

    def _explain(self, run: dict[str, Any], path: str) -> str:
        lines = deque(read_logs(self.client, path), maxlen=LOG_TAIL_LINES)
        log = "\n".join(
            f"  {line['level']} {line.get('step') or ''} {line['message']}" for line in lines
        )
        return f"The run {run['id']} ended as {run['status']}: {run.get('error') or ''}\n{log}"


def rows_of(run: dict[str, Any], kind: str) -> dict[str, int | None]:
    """Returns the rows of the run's assets of one kind, in the order of the data set."""
    order = {name: position for position, name in enumerate(airline.TABLES)}
    assets = [asset for asset in run["assets"] if asset["kind"] == kind]
    assets.sort(key=lambda asset: order.get(asset["name"], len(order)))
    return {asset["name"]: asset["rows"] for asset in assets}


def tests_of(run: dict[str, Any]) -> dict[str, str]:
    """Returns the status of each test of the run."""
    return {check["name"]: check["status"] for check in run["checks"]}


def failures_of(run: dict[str, Any]) -> dict[str, int]:
    """Returns the number of rows that each test has found wrong, of those that found any."""
    return {check["name"]: check["failures"] for check in run["checks"] if check["failures"]}
