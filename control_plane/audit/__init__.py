"""The append-only log of who did what: written in the transaction of the change itself."""
