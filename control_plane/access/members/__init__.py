"""An org as its members see it."""
