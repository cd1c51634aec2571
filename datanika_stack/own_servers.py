"""The servers that are threads of the supervisor itself: warehouses on request, and the keys.

They start before the processes that ask them and end after these.
"""

from collections.abc import Callable

from datanika_stack.key_agent import KeyAgent
from datanika_stack.overdue_transactions import OverdueTransactions
from datanika_stack.peers import in_sessions_of, keep_out_of_core_dumps
from datanika_stack.process_spec import ProcessInfo, ProcessState
from datanika_stack.provision import Provisioner
from datanika_stack.provision_server import ProvisionServer, warehouse_operations
from datanika_stack.stack_plan import StackPlan


class OwnServers:
    """Provisioner and key agent of one stack, and the end of orgs' overdue transactions.

    Args:
        plan: Says where they listen.
        leaders: Gives the process ids of the control plane's processes, which alone get the keys.
    """

    def __init__(self, plan: StackPlan, leaders: Callable[[], set[int]]) -> None:
        self._plan = plan
        self._leaders = leaders
        self._running: dict[str, ProvisionServer | KeyAgent] = {}
        self._overdue: OverdueTransactions | None = None

    def start(self) -> None:
        """Starts both; the keys' one first makes this process's memory private."""
        home = self._plan.home
        keep_out_of_core_dumps()
        self._run("key_agent", KeyAgent(home.key_agent_socket, in_sessions_of(self._leaders)))
        provisioner = Provisioner(self._plan.endpoints.provisioner, self._plan.warehouse_name_key)
        operations = warehouse_operations(provisioner, self._plan.dagster_logins())
        self._run("provisioner", ProvisionServer(operations, home.provisioner_socket))
        self._overdue = OverdueTransactions(self._plan.endpoints.provisioner)
        self._overdue.start()

    def infos(self, started_at: str) -> list[ProcessInfo]:
        """Returns what `status` says about them: they start and end with the supervisor."""
        state = ProcessState.RUNNING.value
        return [
            ProcessInfo(name, None, state, 0, started_at, None)
            for name, server in self._running.items()
            if server.is_alive()
        ]

    def close(self) -> None:
        """Ends those that run."""
        if self._overdue is not None:
            self._overdue.close()
        for server in self._running.values():
            server.close()

    def _run(self, name: str, server: ProvisionServer | KeyAgent) -> None:
        self._running[name] = server
        server.start()
