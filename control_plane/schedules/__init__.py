"""Schedules: when a target runs without a person."""
