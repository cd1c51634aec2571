"""Invitations as they are stored and found; `invitations` makes and accepts them."""
