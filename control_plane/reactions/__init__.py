"""Reactions: what is launched because something happened."""
