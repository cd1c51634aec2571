"""A signed-in person's change of their own password."""
