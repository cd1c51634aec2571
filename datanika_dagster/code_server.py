"""`python -m datanika_dagster.code_server`: Dagster's gRPC server, but only with definitions to serve.

The stock server that cannot load its definitions goes on and serves the error for ever, also when the
control plane was only away for a moment. This one first asks for its manifest and ends when it cannot
have it: whoever supervises it starts it again later and has its last words as the reason.
"""

import sys

from dagster._cli.api import grpc_command

from datanika_dagster import control_plane_client, settings
from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import processes
from datanika_dagster.launcher.task_token import token_of_process
from datanika_manifest.code_location import ManifestError


def run() -> None:
    """Serves the org of the environment, or ends with the reason in one line."""
    # Its environment holds its token and its login.
    processes.hide_this_process()
    try:
        ensure_loadable()
    except (ExecutionError, ManifestError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
    grpc_command()


def ensure_loadable() -> None:
    """Checks that this process may have its manifest, and that it is sound.

    Raises:
        SettingMissing: DATANIKA_ORG is not set.
        ControlPlaneUnreachable: The control plane does not answer.
        ControlPlaneRefused: Nothing is published, or this process may not read it.
        ManifestError: What came is not that org's manifest.
    """
    config = settings.read()
    with control_plane_client.of_process(config, token_of_process()) as client:
        client.manifest(config.required_org(), config.manifest)


if __name__ == "__main__":
    run()
