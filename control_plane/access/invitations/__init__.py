"""Invitations: how somebody becomes a member of an org."""
