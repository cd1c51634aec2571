"""The control plane: tenants, roles, encrypted connections, and what should happen and when.

It must not know Dagster, dlt or dbt, and it never opens a tenant's database.
"""
