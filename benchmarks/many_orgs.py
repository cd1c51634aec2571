"""Many orgs on one machine: what their code servers, the daemon and the webserver take.

A real stack whose orgs have assets and schedules. The manifests are put into the database as publishing
does; loading takes no part. Memory is the sum of PSS, CPU that of the processes' own clocks.
"""

import statistics
import time
from dataclasses import dataclass

from benchmarks.harness import Measure, console
from benchmarks.many_orgs_stack import OrgsStack, many_manifests
from benchmarks.workspace import Workspace

QUICK_ORGS = (5,)
ORGS = (10, 25, 50, 75)
PROMISED_ORGS = 50
"""For how many the targets are; what is above is there to be predicted from what is below."""
ASSETS_PER_ORG = 20
DAEMON_CPU_TARGET_PERCENT = 25.0
TOTAL_TARGET_MB = 7_000.0
SERVER_TARGET_MB = 120.0
CHANGE_TARGET_SECONDS = 5.0
SCHEDULES_TARGET_SECONDS = 60.0
MODEL_TARGET_PERCENT = 20.0


@dataclass(frozen=True)
class Figures:
    """What one number of orgs takes."""

    orgs: int
    awake_mb: float
    asleep_mb: float
    server_mb: float
    daemon_percent: float
    asleep_daemon_percent: float
    supervisor_percent: float
    control_plane_percent: float


def measure(workspace: Workspace) -> list[Measure]:
    """Measures at several numbers of orgs, then a change and a new org at the largest."""
    seconds = 15.0 if workspace.quick else 60.0
    sizes = QUICK_ORGS if workspace.quick else ORGS
    stack = OrgsStack(workspace.directory / "orgs", workspace.port)
    found: list[Figures] = []
    try:
        stack.start(idle_minutes=0)
        for orgs in sizes:
            found.append(_figures(stack, orgs, seconds))
            console.print(f"{found[-1]}", style="dim")
        latencies = _latencies(stack, sizes[-1])
    finally:
        stack.stop()
    return [*_measures(found), *_model(found), *latencies]


def _figures(stack: OrgsStack, orgs: int, seconds: float) -> Figures:
    stack.publish(many_manifests(range(1, orgs + 1), ASSETS_PER_ORG))
    stack.wait_until(orgs, "serving")
    stack.wait_until_shown(orgs)
    awake = stack.cpu_percent(seconds)
    awake_mb, server_mb = stack.memory_mb(), stack.server_mb()
    stack.restart(idle_minutes=1)
    stack.wait_until(orgs, "asleep")
    stack.wait_until_shown(orgs)
    asleep = stack.cpu_percent(seconds)
    figures = Figures(
        orgs,
        awake_mb=awake_mb,
        asleep_mb=stack.memory_mb(),
        server_mb=server_mb,
        daemon_percent=awake["daemon"],
        asleep_daemon_percent=asleep["daemon"],
        supervisor_percent=awake["supervisor"],
        control_plane_percent=awake["control_plane"],
    )
    stack.restart(idle_minutes=0)
    return figures


def _latencies(stack: OrgsStack, orgs: int) -> list[Measure]:
    """Measures a changed definition and a new org while all others are there."""
    stack.wait_until(orgs, "serving")
    started = time.monotonic()
    (changed,) = stack.publish(many_manifests([1], ASSETS_PER_ORG + 1))
    stack.wait_until_live({"org1": changed})
    change = time.monotonic() - started
    started = time.monotonic()
    (new,) = stack.publish(many_manifests([orgs + 1], ASSETS_PER_ORG))
    stack.wait_until_live({f"org{orgs + 1}": new})
    shown = time.monotonic() - started
    stack.wait_until_ticking(orgs + 1)
    ticking = time.monotonic() - started
    target = SCHEDULES_TARGET_SECONDS
    return [
        Measure("changed definition live", round(change, 2), "s", CHANGE_TARGET_SECONDS),
        Measure("new org in the UI", round(shown, 2), "s", CHANGE_TARGET_SECONDS),
        Measure("new org's schedules in the daemon", round(ticking, 2), "s", target),
    ]


def _model(found: list[Figures]) -> list[Measure]:
    """Fits a line through all but the largest number of orgs, and compares it with that one."""
    *smaller, largest = found
    if len(smaller) < len(ORGS) - 1:
        return []
    slope, base = statistics.linear_regression(
        [figures.orgs for figures in smaller], [figures.awake_mb for figures in smaller]
    )
    predicted = base + slope * largest.orgs
    off_percent = abs(predicted - largest.awake_mb) / largest.awake_mb * 100
    return [
        Measure("memory of an org awake, by the model", round(slope, 1), "MB"),
        Measure("memory without orgs, by the model", round(base), "MB"),
        Measure(f"{largest.orgs} orgs: memory by the model", round(predicted), "MB"),
        Measure(
            f"{largest.orgs} orgs: the model is off by",
            round(off_percent, 1),
            "%",
            MODEL_TARGET_PERCENT,
        ),
    ]


def _measures(found: list[Figures]) -> list[Measure]:
    measures: list[Measure] = []
    for figures in found:
        is_promised = figures.orgs == PROMISED_ORGS
        name = f"{figures.orgs} orgs of {ASSETS_PER_ORG} assets"
        memory = TOTAL_TARGET_MB if is_promised else None
        cpu = DAEMON_CPU_TARGET_PERCENT if is_promised else None
        measures += [
            Measure(f"{name}, all awake: memory", round(figures.awake_mb), "MB", memory),
            Measure(f"{name}, all asleep: memory", round(figures.asleep_mb), "MB"),
            Measure(
                f"{name}: one code server", round(figures.server_mb, 1), "MB", SERVER_TARGET_MB
            ),
            Measure(
                f"{name}, all awake: daemon", round(figures.daemon_percent, 1), "% of a core", cpu
            ),
            Measure(
                f"{name}, all asleep: daemon",
                round(figures.asleep_daemon_percent, 1),
                "% of a core",
            ),
            Measure(f"{name}: supervisor", round(figures.supervisor_percent, 1), "% of a core"),
            Measure(
                f"{name}: control plane", round(figures.control_plane_percent, 1), "% of a core"
            ),
        ]
    return measures
