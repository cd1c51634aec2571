"""API keys: for programs, one org each, shown once."""
