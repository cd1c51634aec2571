"""API keys, by REST: for programs, one org each, shown once."""
