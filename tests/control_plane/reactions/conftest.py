"""Fixtures of what launches by itself."""

from tests.control_plane.flaky_dagster import dagster_client, factory, flaky

__all__ = ["dagster_client", "factory", "flaky"]
