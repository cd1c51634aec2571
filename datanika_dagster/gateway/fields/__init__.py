"""Which of Dagster's GraphQL fields somebody in an org may use: one table for each root type.

A root field of the schema that has no row, or a row without a field, keeps the gateway from starting.
"""
