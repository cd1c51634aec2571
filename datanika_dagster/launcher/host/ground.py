"""What all children of one host have in common, and how one of them is placed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datanika_dagster.launcher.fence import LIMITS, Fence, Principal, Surroundings
from datanika_dagster.launcher.host import places
from datanika_dagster.launcher.host.child import Fenced, Start
from datanika_dagster.launcher.host.children import Child, Children
from datanika_dagster.launcher.host.places import Places
from datanika_dagster.launcher.host.protocol import Refusal


@dataclass(frozen=True)
class RunStart:
    """What a run's child, or the one that reports its end, is told.

    Attributes:
        order_fd: The sealed memory with its order.
        control_fd: Its own connection to the host; -1 for the one that reports.
        ending: How the run ended, in words; empty for the run itself.
    """

    run_id: str
    org: str
    org_id: int
    order_fd: int
    control_fd: int = -1
    ending: str = ""


@dataclass(frozen=True)
class Bodies:
    """What children do; each returns its exit code.

    Attributes:
        run: A run.
        job: A job or a task; its argument is its end of the channel.
        report: Reports a run that has ended without doing so itself.
    """

    run: Callable[[RunStart], int]
    job: Callable[[int], int]
    report: Callable[[RunStart], int]


@dataclass(frozen=True)
class Ground:
    """One host's.

    Attributes:
        environment: What every child's environment has, beside its directories.
    """

    bodies: Bodies
    children: Children
    places: Places
    fence: Fence
    environment: Mapping[str, str]
    _untidied: list[Path] = field(default_factory=list)

    @property
    def is_untidy(self) -> bool:
        """Whether there are directories that could not be removed yet."""
        return bool(self._untidied)

    def fenced(
        self,
        org_id: int,
        kind: Literal["run", "job"],
        work_dir: Path,
        *,
        writable: tuple[Path, ...] = (),
        has_network: bool = True,
    ) -> Fenced:
        """Returns the fence of a child, by what the host knows and nobody else says."""
        surroundings = Surroundings(
            work_dir,
            writable=writable,
            readable=self.places.readable_of(org_id),
            has_network=has_network,
            limits=LIMITS[kind],
        )
        # What generates an org's projects is a job of the org, too.
        own = surroundings.readable if kind == "job" else ()
        return Fenced(self.fence, Principal(org_id, kind), surroundings, own)

    def tidy(self, work_dir: Path) -> None:
        """Removes a directory whose child has ended; does not wait for a large one."""
        is_removed = self.places.remove_work_dir(work_dir)
        if not is_removed and not self.errand(lambda: places.remove(work_dir)):
            self._untidied.append(work_dir)

    @staticmethod
    def discard(work_dir: Path) -> None:
        """Removes a directory whose child was never started, and has put nothing into it."""
        places.remove(work_dir)

    def tidy_again(self) -> None:
        """Tries to remove what could not be: no process was left, for example."""
        left = list(self._untidied)
        self._untidied.clear()
        for work_dir in left:
            self.tidy(work_dir)

    def errand(self, body: Callable[[], int], kind: Literal["errand", "upkeep"] = "errand") -> bool:
        """Does something of the host's own in a child, since it may take long.

        Args:
            body: What; returns an exit code.
            kind: A host that drains waits for an errand, for upkeep it does not.

        Returns:
            False where the system has no process for it.
        """
        one = Child(kind, {}, on_end=lambda _: None)
        try:
            self.children.fork(one, Start(body, output_fd=2, environment=self.environment))
        except Refusal:
            return False
        return True
