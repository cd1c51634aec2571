"""A person's own sessions: where they are signed in, and ending that."""
