"""Dependencies: edges between targets that no SQL shows."""
