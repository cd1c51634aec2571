"""How pytest-xdist spreads the tests: by file, and what starts whole stacks in two groups.

The stacks come first: they mostly wait, for minutes, and started late they keep one worker waiting
while the others have no work left. More than two at a time would fight for the cores. (The `xdist_group` mark does not group with pytest 9: the node id that it changes is
not the one that is reported.)
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

OWN_STACKS = "stacks of their own"
DEMOS_STACK = "the demo's stack"

# What starts and ends stacks itself; the other end-to-end tests share the demo's.
STACKS_OF_THEIR_OWN = (
    "tests/chaos/",
    "tests/datanika_stack/demo/test_demo.py",
    "tests/datanika_stack/test_deployment.py",
    "tests/datanika_stack/test_stack.py",
    "tests/end_to_end/test_sealed.py",
)
# Every file whose tests are marked `stack`; tests/conftest.py refuses one that is missing here.
WHOLE_STACKS = ("tests/end_to_end/", *STACKS_OF_THEIR_OWN)


class StackScheduling(LoadScopeScheduling):
    """Gives a file to one worker, and whole stacks to two."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(STACKS_OF_THEIR_OWN):
            return OWN_STACKS
        return DEMOS_STACK if nodeid.startswith(WHOLE_STACKS) else nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        for scope in (OWN_STACKS, DEMOS_STACK):
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)
