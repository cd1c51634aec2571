"""How pytest-xdist spreads the tests: by file, and everything that starts whole stacks together.

The stacks come first: they mostly wait, for a quarter of an hour, and started late they keep one
worker waiting while the other has no work left. Two at a time would fight for the cores and for each
other's ports. (The `xdist_group` mark does not group with pytest 9: the node id that it changes is
not the one that is reported.)
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

STACKS = "whole stacks"

# Every file whose tests are marked `stack`; tests/conftest.py refuses one that is missing here.
WHOLE_STACKS = (
    "tests/end_to_end/",
    "tests/datanika_stack/demo/test_demo.py",
    "tests/datanika_stack/test_deployment.py",
    "tests/datanika_stack/test_stack.py",
)


class StackScheduling(LoadScopeScheduling):
    """Gives a file to one worker, and all whole stacks to one."""

    def _split_scope(self, nodeid: str) -> str:
        return STACKS if nodeid.startswith(WHOLE_STACKS) else nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if STACKS in self.workqueue:
            self.workqueue.move_to_end(STACKS, last=False)
        super()._assign_work_unit(node)
