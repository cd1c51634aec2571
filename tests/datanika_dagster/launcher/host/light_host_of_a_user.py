"""The light host as another user than root: SIGUSR1 leaves it no process to start, SIGUSR2 all."""

import os
import resource
import signal

from tests.datanika_dagster.launcher.host.light_host import main

USER = 54_321


def allow_processes(number: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if number < 0 else number, hard))


if __name__ == "__main__":
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    signal.signal(signal.SIGUSR1, lambda *_: allow_processes(0))
    signal.signal(signal.SIGUSR2, lambda *_: allow_processes(-1))
    main()
