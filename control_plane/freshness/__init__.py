"""Freshness policies: how old an asset may become."""
