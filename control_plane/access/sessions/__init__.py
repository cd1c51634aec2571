"""Sessions: access tokens, rotating refresh tokens and the cookie for the Dagster UI."""
