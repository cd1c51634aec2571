"""What we change in dbt is there, and what is left out was for nobody."""

import inspect

import pytest
from dbt.plugins.manager import PluginManager
from dbt.task.compile import CompileTask
from dbt_common.behavior_flags import BehaviorFlagRendered

from datanika_dagster.transformations import dbt_process

CHANGED = [
    (CompileTask, "raise_on_first_error", ["self"]),
    (BehaviorFlagRendered, "_default_source", []),
    (PluginManager, "get_prefixed_modules", []),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), CHANGED)
def test_it_is_there(owner, name, parameters):
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_no_frame_is_looked_at_for_the_source_of_a_flag():
    dbt_process.adapt()
    flag = {"name": "any", "default": False, "description": "Any."}
    assert BehaviorFlagRendered(flag, {})._behavior_change_event.flag_source == "adapter"


def test_there_is_no_plugin_to_find():
    dbt_process.adapt()
    assert PluginManager.from_modules("any")._plugins == []
