"""Organizations, and the scoping that keeps every row inside its own."""
