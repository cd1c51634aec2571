"""The contract between the control plane and the execution plane.

Frozen Pydantic models and declarations only. This package must not know a database, a
network, an engine (dlt, dbt, Dagster) or a secret.
"""
