"""Small pieces that every asset definition is made of."""

import dagster as dg

from datanika_manifest.names import AssetKey, join

KINDS = {"postgres": "postgres", "managed_warehouse": "postgres"}
"""What Dagster's UI has an icon for, by connector."""


def key(asset_key: AssetKey) -> dg.AssetKey:
    """Returns Dagster's form of an asset key."""
    return dg.AssetKey(list(asset_key))


def kinds(engine: str, connector: str | None) -> set[str]:
    """Returns what the UI shows on an asset: how it is made, and where it is stored."""
    return {engine} | ({KINDS.get(connector, connector)} if connector else set())


def pool(org: str, engine: str, slug: str) -> str:
    """Returns the name of the pool that lets one run at a time do this work."""
    return join(org, engine, slug)
