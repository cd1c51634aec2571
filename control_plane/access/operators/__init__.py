"""Platform operators, by REST."""
