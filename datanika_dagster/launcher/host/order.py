"""What a run is told: everything that it needs and its host must not know."""

import json

from pydantic import BaseModel, ConfigDict, SecretStr

from datanika_dagster.launcher.host import sealed_memory


class RunOrder(BaseModel):
    """A run's order, as it travels in sealed memory.

    Attributes:
        run_id: The run.
        claimant: Names the process that gets this order, and no other one.
        org: Whose it is.
        manifest_sha256: The manifest that it was planned from.
        task_token: Exchanged once for its credentials.
        instance_ref: Dagster's own description of its instance.
        storage_url: Dagster's storage with the login that this run has.
        environment: Further variables; no secret among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    run_id: str
    claimant: str
    org: str
    manifest_sha256: str
    task_token: SecretStr
    instance_ref: str
    storage_url: SecretStr
    environment: dict[str, str]

    def sealed(self) -> int:
        """Returns a descriptor of sealed memory with this order; the caller closes it."""
        content = self.model_dump(mode="json") | {
            "task_token": self.task_token.get_secret_value(),
            "storage_url": self.storage_url.get_secret_value(),
        }
        return sealed_memory.sealed(json.dumps(content).encode())


def read(descriptor: int) -> RunOrder:
    """Returns the order that was sealed.

    Raises:
        ValidationError: It has another form.
    """
    return RunOrder.model_validate_json(sealed_memory.read(descriptor))
