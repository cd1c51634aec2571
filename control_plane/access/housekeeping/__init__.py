"""Removes what has expired: counters, links, codes and sessions that nobody can use any more."""
