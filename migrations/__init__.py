"""Migrations of the control-plane database."""
