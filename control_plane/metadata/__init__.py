"""Discovered schemas: a cache of which tables, columns and keys a connection has."""
