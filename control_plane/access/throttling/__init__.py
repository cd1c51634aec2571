"""Slows down whoever guesses passwords or floods sign-up."""
