"""Sign-in by Google and GitHub (OAuth2 with PKCE)."""
