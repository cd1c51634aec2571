"""Targets: what an edge, a schedule or a freshness policy can name."""
