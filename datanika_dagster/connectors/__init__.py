"""The engines of the connectors: how to reach a database, test it and see what is in it.

The declaration of a kind is `datanika_manifest/connectors/<kind>.py`; a test fails when one
exists without the other. Nothing here knows dlt, dbt or Dagster.
"""
