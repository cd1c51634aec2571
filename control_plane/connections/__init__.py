"""Connections to databases: their settings, with the secrets encrypted."""
