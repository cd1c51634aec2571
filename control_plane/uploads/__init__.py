"""Uploads: what is loaded from where to where, and how."""
