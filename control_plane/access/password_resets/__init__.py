"""One-time links with which a person sets a new password."""
