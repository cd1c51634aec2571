"""Starts runs, and inside a run the jobs that hold credentials, each in a process of its own."""
