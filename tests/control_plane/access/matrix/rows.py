"""How a valid request of each operation looks: the one table of the matrix.

A new operation needs a row here; `test_matrix.py` fails by name without one. What would start a
process or ask Dagster is refused by the real thing, because nothing of it runs here: such a row has
the refusal's status and the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from control_plane.connections.models import Connection
from control_plane.dependencies.models import Dependency
from control_plane.freshness.models import FreshnessPolicy
from control_plane.schedules.models import Schedule
from control_plane.transformations.models import Transformation
from control_plane.uploads.models import Upload
from tests.control_plane.access.matrix import accounts as a
from tests.control_plane.access.matrix import objects as o
from tests.control_plane.access.matrix.accounts import NEW_PASSWORD, PASSWORD
from tests.control_plane.access.matrix.objects import Request, Stage

ORG = "/api/v1/orgs/{org}"
NO_SLOT = "no place for tasks is free"
NO_DAGSTER = "no Dagster is running"
NO_MASTER_PASSWORD = "the keys come from the environment"
NO_PROVIDER = "no provider is set up"
NOT_PUBLISHED = "nothing is published"


@dataclass(frozen=True)
class Row:
    """A valid request.

    Attributes:
        prepare: Makes what it needs, in each of the two orgs.
        body: The JSON body, where it needs no prepared object.
        status: What it answers, where that is not the status that the route declares.
        because: Why not.
        by_key: False for what an API key may not do, whatever its scopes, or not with one alone.
    """

    prepare: Callable[[Stage], Request] = o.nothing
    body: Any = None
    status: int | None = None
    because: str = ""
    by_key: bool = True


def _refused(status: int, because: str, prepare: Callable[[Stage], Request] = o.nothing) -> Row:
    return Row(prepare, status=status, because=because)


ROWS: dict[str, Row] = {
    # The organization
    f"GET {ORG}": Row(),
    f"PATCH {ORG}": Row(body={"name": "renamed"}),
    f"DELETE {ORG}": Row(a.confirmed_deletion, by_key=False),
    f"GET {ORG}/members": Row(),
    f"GET {ORG}/members/{{user_id}}": Row(a.member),
    # A key needs every permission of the role that it gives or takes, too.
    f"PATCH {ORG}/members/{{user_id}}": Row(a.member, {"role": "editor"}, by_key=False),
    f"DELETE {ORG}/members/{{user_id}}": Row(a.member, by_key=False),
    f"POST {ORG}/members/leave": Row(a.second_owner, by_key=False),
    f"GET {ORG}/invitations": Row(),
    f"POST {ORG}/invitations": Row(
        body={"email": "new@example.com", "role": "viewer"}, by_key=False
    ),
    f"DELETE {ORG}/invitations/{{invitation_id}}": Row(a.invitation, by_key=False),
    f"POST {ORG}/invitations/{{invitation_id}}/renew": Row(a.invitation, by_key=False),
    f"GET {ORG}/deleted": Row(),
    f"GET {ORG}/data-key/rotations": Row(),
    f"POST {ORG}/data-key/rotations": Row(),
    f"GET {ORG}/audit": Row(),
    f"GET {ORG}/audit/export": Row(),
    f"GET {ORG}/api-keys": Row(),
    f"POST {ORG}/api-keys": Row(body={"name": "new", "scopes": ["orgs:read"]}, by_key=False),
    f"DELETE {ORG}/api-keys/{{key_id}}": Row(o.api_key),
    f"GET {ORG}/warehouse": Row(),
    f"POST {ORG}/warehouse/credentials": _refused(409, "the warehouse is not provisioned"),
    # Connections
    f"GET {ORG}/connections": Row(),
    f"POST {ORG}/connections": Row(o.new_connection),
    f"GET {ORG}/connections/{{connection_id}}": Row(o.connection),
    f"PATCH {ORG}/connections/{{connection_id}}": Row(o.connection, {"name": "renamed"}),
    f"DELETE {ORG}/connections/{{connection_id}}": Row(o.connection),
    f"POST {ORG}/connections/{{connection_id}}/restore": Row(o.deleted(Connection, o.connection)),
    f"POST {ORG}/connections/{{connection_id}}/test": _refused(429, NO_SLOT, o.connection),
    f"GET {ORG}/connections/{{connection_id}}/tables": Row(o.connection),
    f"GET {ORG}/connections/{{connection_id}}/sample": _refused(429, NO_SLOT, o.sample),
    f"POST {ORG}/connections/{{connection_id}}/metadata/sync": _refused(429, NO_SLOT, o.connection),
    # Uploads
    f"GET {ORG}/uploads": Row(),
    f"POST {ORG}/uploads": Row(o.new_upload),
    f"GET {ORG}/uploads/{{upload_id}}": Row(o.upload),
    f"PATCH {ORG}/uploads/{{upload_id}}": Row(o.upload, {"name": "renamed"}),
    f"DELETE {ORG}/uploads/{{upload_id}}": Row(o.upload),
    f"POST {ORG}/uploads/{{upload_id}}/restore": Row(o.deleted(Upload, o.upload)),
    f"POST {ORG}/uploads/{{upload_id}}/runs": _refused(409, NOT_PUBLISHED, o.upload),
    # Transformations
    f"GET {ORG}/transformations": Row(),
    f"POST {ORG}/transformations": _refused(429, NO_SLOT, o.new_transformation),
    f"POST {ORG}/transformations/preview": _refused(429, NO_SLOT, o.preview),
    f"GET {ORG}/transformations/{{transformation_id}}": Row(o.transformation),
    f"PATCH {ORG}/transformations/{{transformation_id}}": Row(
        o.transformation, {"description": "new"}, 429, NO_SLOT
    ),
    f"DELETE {ORG}/transformations/{{transformation_id}}": Row(o.transformation),
    f"POST {ORG}/transformations/{{transformation_id}}/restore": _refused(
        429, NO_SLOT, o.deleted(Transformation, o.transformation)
    ),
    f"POST {ORG}/transformations/{{transformation_id}}/runs": _refused(
        409, NOT_PUBLISHED, o.transformation
    ),
    # What runs when
    f"GET {ORG}/dependencies": Row(),
    f"POST {ORG}/dependencies": Row(o.new_dependency),
    f"GET {ORG}/dependencies/neighbours": Row(o.neighbours),
    f"GET {ORG}/dependencies/{{dependency_id}}": Row(o.dependency),
    f"PATCH {ORG}/dependencies/{{dependency_id}}": Row(o.dependency, {"runs_after_success": True}),
    f"GET {ORG}/dependencies/{{dependency_id}}/reactions": Row(o.dependency),
    f"DELETE {ORG}/dependencies/{{dependency_id}}": Row(o.dependency),
    f"POST {ORG}/dependencies/{{dependency_id}}/restore": Row(o.deleted(Dependency, o.dependency)),
    f"GET {ORG}/schedules": Row(),
    f"POST {ORG}/schedules": Row(o.new_schedule),
    f"GET {ORG}/schedules/{{schedule_id}}": Row(o.schedule),
    f"GET {ORG}/schedules/{{schedule_id}}/next": Row(o.schedule),
    f"PATCH {ORG}/schedules/{{schedule_id}}": Row(o.schedule, {"is_active": False}),
    f"DELETE {ORG}/schedules/{{schedule_id}}": Row(o.schedule),
    f"POST {ORG}/schedules/{{schedule_id}}/restore": Row(o.deleted(Schedule, o.schedule)),
    f"GET {ORG}/freshness-policies": Row(),
    f"POST {ORG}/freshness-policies": Row(o.new_policy),
    f"GET {ORG}/freshness-policies/{{policy_id}}": Row(o.policy),
    f"PATCH {ORG}/freshness-policies/{{policy_id}}": Row(o.policy, {"severity": "error"}),
    f"DELETE {ORG}/freshness-policies/{{policy_id}}": Row(o.policy),
    f"POST {ORG}/freshness-policies/{{policy_id}}/restore": Row(
        o.deleted(FreshnessPolicy, o.policy)
    ),
    f"GET {ORG}/freshness-policies/{{policy_id}}/reactions": Row(o.policy),
    f"GET {ORG}/freshness": _refused(409, NOT_PUBLISHED),
    # Publishing and runs
    f"POST {ORG}/publish": Row(),
    f"GET {ORG}/manifest": _refused(503, NO_DAGSTER, o.manifest),
    f"GET {ORG}/runs": Row(),
    f"GET {ORG}/events": Row(),
    f"POST {ORG}/runs": Row(body={"targets": []}, status=409, because=NOT_PUBLISHED),
    f"GET {ORG}/runs/{{run_id}}": _refused(503, NO_DAGSTER, o.run),
    f"GET {ORG}/runs/{{run_id}}/logs": _refused(503, NO_DAGSTER, o.run),
    f"POST {ORG}/runs/{{run_id}}/retry": _refused(503, NO_DAGSTER, o.run),
    f"POST {ORG}/runs/{{run_id}}/cancel": _refused(503, NO_DAGSTER, o.run),
    # Whoever is signed in
    "GET /api/v1/auth/me": Row(),
    "POST /api/v1/auth/logout": Row(),
    "POST /api/v1/auth/password": Row(a.password_change),
    "GET /api/v1/auth/sessions": Row(),
    "DELETE /api/v1/auth/sessions/{session_id}": Row(a.session),
    "POST /api/v1/auth/switch": Row(a.switch),
    # Platform operators
    "POST /api/v1/system/operators": Row(a.user),
    "GET /api/v1/system/operators": Row(),
    "DELETE /api/v1/system/operators/{user_id}": Row(a.operator),
    "GET /api/v1/system/orgs": Row(),
    "POST /api/v1/system/orgs": Row(body={"name": "New", "owner_email": "new@example.com"}),
    "PUT /api/v1/system/orgs/{slug}/quota": Row(a.org, {"parallel_runs": 2, "runs_per_hour": None}),
    "POST /api/v1/system/orgs/{slug}/suspend": Row(a.org),
    "POST /api/v1/system/orgs/{slug}/resume": Row(a.org),
    "POST /api/v1/system/orgs/{slug}/restore": Row(a.deleted_org),
    "POST /api/v1/system/orgs/{slug}/data-key/rotations": Row(a.org),
    "POST /api/v1/system/password-resets": Row(a.user),
    "GET /api/v1/system/seal": Row(),
    "POST /api/v1/system/seal": _refused(409, NO_MASTER_PASSWORD),
    "POST /api/v1/system/unlock": Row(
        body={"password": PASSWORD}, status=409, because=NO_MASTER_PASSWORD
    ),
    "POST /api/v1/system/master-password": Row(
        body={"password": PASSWORD}, status=409, because=NO_MASTER_PASSWORD
    ),
    "PUT /api/v1/system/master-password": Row(
        body={"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        status=409,
        because=NO_MASTER_PASSWORD,
    ),
    "GET /api/v1/system/key-encryption-key/rotations": Row(),
    "POST /api/v1/system/key-encryption-key/rotations": Row(body={}),
    "GET /api/v1/system/audit": Row(),
    "GET /api/v1/system/audit/export": Row(),
    # The platform's own processes
    "GET /internal/v1/seal": Row(),
    "GET /internal/v1/quotas": Row(),
    "GET /internal/v1/locations": Row(),
    "GET /internal/v1/orgs/{org}/manifest": Row(o.manifest),
    "GET /internal/v1/orgs/{org}/manifests/{sha256}": Row(o.manifest),
    "POST /internal/v1/runs/changes": Row(),
    "POST /internal/v1/runs/{run_id}/authorize": Row(o.launched_run),
    "POST /internal/v1/orgs/{org}/intents": Row(a.intent),
    # Open
    "GET /health": Row(),
    "GET /ready": Row(),
    "GET /login": Row(),
    "GET /welcome": Row(status=303, because="it leads to the page of signing in"),
    "GET /logout": Row(),
    "POST /logout": Row(status=303, because="it leads to the page of signing in"),
    "GET /password-reset": Row(),
    "GET /forgotten-password": Row(),
    "GET /invitation": Row(),
    "GET /api/auth/login/{provider}": _refused(404, NO_PROVIDER, a.provider),
    "GET /api/auth/callback/{provider}": _refused(400, NO_PROVIDER, a.provider),
    "GET /login/oauth": _refused(401, "it has no code"),
    "GET /api/v1/auth/providers": Row(),
    "POST /api/v1/auth/oauth/exchange": Row(a.oauth_code),
    "POST /api/v1/auth/invitations/show": Row(a.invitation_token),
    "POST /api/v1/auth/invitations/accept": Row(a.accepted_invitation),
    "POST /api/v1/auth/password-resets": Row(a.user),
    "POST /api/v1/auth/password-resets/redeem": Row(a.reset),
    "POST /login": Row(
        a.login_form, status=303, because="it leads to the page of who is signed in"
    ),
    "POST /api/v1/auth/signup": Row(a.sign_up),
    "POST /api/v1/auth/login": Row(a.log_in),
    "POST /api/v1/auth/refresh": Row(a.refresh),
    "GET /internal/v1/session": Row(a.session_of_gateway),
    "POST /internal/v1/task-tokens": Row(a.shell_run),
    "POST /internal/v1/task-tokens/redeem": Row(a.task_token),
}
