"""Uploads: extract and load with dlt.

`job.py` is what a run's job child executes; everything else here serves it. dlt is imported by
`pipeline.py` and `destination.py` alone, so that planning a load needs no dlt. Nothing here
knows Dagster or the control plane.
"""
