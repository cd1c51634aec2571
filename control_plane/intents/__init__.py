"""Intents: what people are about to do in the Dagster UI, decided here before it is done there."""
