"""Compiles an org's rows into a manifest, validates it and publishes it."""
