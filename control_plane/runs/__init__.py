"""Runs, and the one adapter to Dagster."""
