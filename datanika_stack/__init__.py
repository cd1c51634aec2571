"""The stack: the `datanika` command, the supervisor, embedded PostgreSQL and provisioning.

It starts the other parts as processes and decides or executes nothing itself.
"""
