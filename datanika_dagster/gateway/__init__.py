"""The Dagster UI and GraphQL behind the control plane's login."""
