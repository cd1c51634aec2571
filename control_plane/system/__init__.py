"""The deployment itself: health, the first operator, the login page for the Dagster UI."""
