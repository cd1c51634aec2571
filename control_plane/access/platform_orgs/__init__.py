"""Organizations, as platform operators see, make, suspend and restore them."""
