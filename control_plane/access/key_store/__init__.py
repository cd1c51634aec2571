"""API keys as they are stored and found; `api_keys` makes and revokes them."""
