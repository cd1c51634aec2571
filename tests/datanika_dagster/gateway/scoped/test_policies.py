"""Every public name of Dagster's storages has a policy, and each policy does what it says."""

import inspect
from contextlib import suppress
from pathlib import Path

import pytest
from dagster._core.launcher import RunLauncher
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped import (
    OrgBoundary,
    compute_logs,
    event_log_storage,
    run_control,
    run_storage,
    schedule_storage,
)
from datanika_dagster.gateway.scoped.ownership import Kind
from datanika_dagster.gateway.scoped.policy import (
    OF_EVERY_PART,
    Custom,
    Deny,
    Derived,
    Facade,
    Own,
    OwnAmong,
    Pass,
    UnclassifiedName,
    facade,
)

PINNED = Path(__file__).parent / "dagsters_methods.txt"
PARTS = {
    "run_storage": (RunStorage, run_storage.OrgRunStorage),
    "event_log_storage": (EventLogStorage, event_log_storage.OrgEventLogStorage),
    "schedule_storage": (ScheduleStorage, schedule_storage.OrgScheduleStorage),
    "compute_log_manager": (LocalComputeLogManager, compute_logs.OrgComputeLogs),
    "run_coordinator": (QueuedRunCoordinator, run_control.OrgRunCoordinator),
    "run_launcher": (RunLauncher, run_control.OrgRunLauncher),
}
METHODS = [(part, name) for part, (_, cls) in PARTS.items() for name in cls.policies]


def policy_of(part, name):
    return PARTS[part][1].policies[name]


def of_kind(*kinds):
    return [one for one in METHODS if isinstance(policy_of(*one), kinds)]


def signatures():
    lines = []
    for base, _ in PARTS.values():
        for name in sorted(name for name in dir(base) if not name.startswith("_")):
            static = inspect.getattr_static(base, name)
            is_property = isinstance(static, property)
            shape = " property" if is_property else names(inspect.signature(getattr(base, name)))
            lines.append(f"{base.__name__}.{name}{shape}")
    return "\n".join([*lines, ""])


def names(signature):
    bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def test_dagsters_methods_are_those_that_the_policies_were_made_for():
    assert signatures() == PINNED.read_text()


class Small:
    def known(self, run_id): ...


class Grown(Small):
    def added_in_an_upgrade(self, run_id): ...


SMALL_POLICIES = {
    "known": Own("run_id", Kind.RUN),
    "has_instance": Pass(),
    "register_instance": Pass(),
    "dispose": Pass(),
}


class TestTable:
    """What a Dagster with more, fewer or other methods does to the start."""

    def make(self, base, policies, **members):
        stub = type("Base", (base,), dict.fromkeys(OF_EVERY_PART, lambda _: None))
        return facade(stub, policies)(type("Made", (Facade,), members))

    def test_a_full_one_is_taken(self):
        assert self.make(Small, SMALL_POLICIES)

    def test_a_new_method_stops_it(self):
        with pytest.raises(UnclassifiedName, match="added_in_an_upgrade"):
            self.make(Grown, SMALL_POLICIES)

    def test_a_method_that_is_gone_stops_it(self):
        with pytest.raises(UnclassifiedName, match="gone"):
            self.make(Small, SMALL_POLICIES | {"gone": Deny()})

    def test_an_argument_that_is_gone_stops_it(self):
        with pytest.raises(UnclassifiedName, match="takes no run"):
            self.make(Small, SMALL_POLICIES | {"known": Own("run", Kind.RUN)})

    def test_a_custom_method_must_be_there(self):
        with pytest.raises(UnclassifiedName, match="is not there"):
            self.make(Small, SMALL_POLICIES | {"known": Custom()})

    def test_a_custom_method_takes_what_dagsters_takes(self):
        with pytest.raises(UnclassifiedName, match="other arguments"):
            self.make(
                Small, SMALL_POLICIES | {"known": Custom()}, known=lambda self, run_id, more: None
            )

    def test_a_method_without_a_custom_policy_is_not_the_classs_own(self):
        with pytest.raises(UnclassifiedName, match="known"):
            self.make(Small, SMALL_POLICIES, known=lambda self, run_id: None)


class Recorder:
    """Stands before a part of the instance and remembers what came through."""

    def __init__(self, inner):
        self.inner = inner
        self.calls = []

    def __getattr__(self, name):
        def call(*values, **named):
            self.calls.append((name, values, named))

        return call


def recorded(org, part, role=Role.OWNER):
    made = getattr(org.view(role), part)
    made._inner = Recorder(made._inner)
    return made, made._inner


def arguments(part, name, org):
    """Returns arguments for a method, all of them of one org."""
    key = org.key
    values = {
        "run_id": org.run.run_id,
        "asset_key": key,
        "records_filter": key,
        "event_records_filter": key,
        "key": key,
        "check_key": org.check,
        "keys": [org.check],
        "asset_keys": [key],
        "check_keys": [org.check],
        "asset_check_keys": [org.check],
        "partitions_def_name": org.partitions,
        "concurrency_key": org.pool,
    }
    if name == "get_asset_check_state":
        values["keys"] = [(org.check, None)]
    parameters = list(inspect.signature(getattr(PARTS[part][0], name)).parameters.values())[1:]
    return {
        one.name: values.get(one.name, org.canary)
        for one in parameters
        if one.default is one.empty or one.name in values
    }


@pytest.mark.parametrize(("part", "name"), of_kind(Own))
def test_what_names_another_orgs_thing_never_reaches_the_storage(mine, theirs, part, name):
    made, recorder = recorded(mine, part)
    method = getattr(made, name)
    method(**arguments(part, name, mine))
    assert [call[0] for call in recorder.calls] == [name]
    recorder.calls.clear()
    with suppress(OrgBoundary):
        assert not method(**arguments(part, name, theirs))
    assert recorder.calls == []


@pytest.mark.parametrize(("part", "name"), of_kind(OwnAmong))
def test_of_a_list_only_the_orgs_own_reaches_the_storage(mine, theirs, part, name):
    made, recorder = recorded(mine, part)
    argument = policy_of(part, name).argument
    own, foreign = (arguments(part, name, org) for org in (mine, theirs))
    getattr(made, name)(**own | {argument: [*foreign[argument], *own[argument]]})
    ((_, values, named),) = recorder.calls
    assert theirs.slug not in repr((values, named)).replace(mine.slug + '"', "")
    assert mine.canary in repr((values, named))
    with pytest.raises(OrgBoundary):
        getattr(made, name)(**own | {argument: None})


@pytest.mark.parametrize(("part", "name"), of_kind(Deny))
def test_nobody_does_what_is_denied(mine, part, name):
    made, recorder = recorded(mine, part)
    with pytest.raises(OrgBoundary):
        getattr(made, name)(**arguments(part, name, mine))
    assert recorder.calls == []


LEAST = {role: [one for one in METHODS if policy_of(*one).least is role] for role in Role}


@pytest.mark.parametrize(("part", "name"), [*LEAST[Role.EDITOR], *LEAST[Role.ADMIN]])
def test_a_lesser_role_does_nothing(mine, part, name):
    least = policy_of(part, name).least
    for role in Role:
        if not role.at_least(least):
            made, recorder = recorded(mine, part, role)
            with pytest.raises(OrgBoundary):
                getattr(made, name)(**arguments(part, name, mine))
            assert recorder.calls == []


READS = {
    "get_", "has_", "supports_", "can_", "is_", "all_", "fetch_", "asset_", "handles_",
    "default_", "watch", "end_watch", "build_", "parse_", "read_", "subscribe", "unsubscribe",
    "dequeue_", "op_", "should_", "inst_", "polling_",
}  # fmt: skip
# A look at an asset has what is known of its partitions written down.
WRITTEN_BY_LOOKING = {"update_asset_cached_status_data"}


def test_whatever_changes_something_needs_a_role():
    free = [
        f"{part}.{name}"
        for part, name in LEAST[Role.VIEWER]
        if not isinstance(policy_of(part, name), Deny)
        and name not in {*OF_EVERY_PART, *WRITTEN_BY_LOOKING, "join"}
        and not name.startswith(tuple(READS))
    ]
    assert free == []


def test_what_is_derived_is_dagsters_own_and_is_on_this_list():
    """Each of them asks by other methods of the facade, and reads nothing itself."""
    derived = {f"{part}.{name}" for part, name in of_kind(Derived) if name not in OF_EVERY_PART}
    assert derived == {
        "compute_log_manager.inst_data",
        "compute_log_manager.polling_timeout",
        "compute_log_manager.read_log_lines_for_log_key_prefix",
        "event_log_storage.get_asset_status_cache_values",
        "event_log_storage.store_event_batch",
        "run_coordinator.inst_data",
        "run_storage.add_snapshot",
        "run_storage.has_snapshot",
    }
