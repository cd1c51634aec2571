"""The execution plane: Dagster definitions built from a manifest, and how each of them runs.

It must not open the control-plane database and never holds an encryption key.
"""
