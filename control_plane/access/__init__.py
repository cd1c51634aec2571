"""Who somebody is and what they may do: users, sessions, roles, API keys, task tokens."""
