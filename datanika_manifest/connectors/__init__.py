"""Connector declarations: which settings a kind of connection has and which of them are secret.

The engine of a kind (how to connect, discover, load) is `datanika_dagster/connectors/<kind>.py`;
a test fails when one exists without the other.
"""
