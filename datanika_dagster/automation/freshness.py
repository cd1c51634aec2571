"""How old an asset may become, as Dagster's own freshness policies: its daemon evaluates them."""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

import dagster as dg
from dagster._utils.schedules import get_smallest_cron_interval

from datanika_manifest.automation import FreshnessPolicy
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import AssetKey
from datanika_manifest.transformations import TestSeverity

NEVER = timedelta(days=36_500)
"""Dagster demands a time after which a policy fails; one that only warns gets a century."""

PolicyByKey = Mapping[AssetKey, dg.FreshnessPolicy]


def freshness_policies(manifest: CodeLocation) -> PolicyByKey:
    """Returns the policy of each asset that has one.

    Args:
        manifest: Its policies are valid; publishing has checked them.
    """
    return {policy.asset_key: _definition(policy) for policy in manifest.freshness_policies}


def _definition(policy: FreshnessPolicy) -> dg.FreshnessPolicy:
    if policy.max_age_seconds is None:
        return _cron(policy.deadline_cron or "", policy.timezone)
    max_age = timedelta(seconds=policy.max_age_seconds)
    if policy.severity is TestSeverity.WARN:
        return dg.FreshnessPolicy.time_window(fail_window=NEVER, warn_window=max_age)
    return dg.FreshnessPolicy.time_window(fail_window=max_age)


@lru_cache(maxsize=256)  # Dagster samples a thousand ticks to check one
def _cron(deadline_cron: str, timezone: str) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.cron(
        deadline_cron=deadline_cron,
        # At each deadline the asset must have been made since the one before.
        lower_bound_delta=get_smallest_cron_interval(deadline_cron),
        timezone=timezone,
    )
