"""Transformations: SQL models in the dbt project that is generated for a connection."""
