"""dbt on the execution plane: projects that the platform writes, parsed and run by jobs.

Modules here run in job children and tasks, apart from `events.py` and `assets.py`, which run in
the run child and translate what a job says. Jobs know no Dagster; nothing here knows the
control-plane database.
"""
