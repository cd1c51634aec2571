"""The table of `Mutation` (dagster-graphql 1.13.27).

What somebody in an org may change stands in `datanika_manifest.intents` with the role that it takes,
so that the control plane decides on the same row. Here stands what nobody in an org may.
"""

from datanika_dagster.gateway.fields.rules import FieldRule, Reach, Table, denied
from datanika_dagster.gateway.principal import Role
from datanika_manifest.intents import INTENTS

MUTATIONS: Table = {
    **{name: FieldRule(Reach.STORAGE, Role(intent.role)) for name, intent in INTENTS.items()},
    **denied(
        "deleteAppManagedComponent",
        "deleteConcurrencyLimit",
        "freeConcurrencySlots",
        "freeConcurrencySlotsForRun",
        "logTelemetry",
        "refreshComponentState",
        "reloadWorkspace",
        "setAppManagedComponent",
        "setAutoMaterializePaused",
        "setConcurrencyLimit",
        "shutdownRepositoryLocation",
    ),
    # The UI sends it by itself; to refuse it would show an error for nothing.
    "setNuxSeen": FieldRule(Reach.DENY, None, answer=True),
}
