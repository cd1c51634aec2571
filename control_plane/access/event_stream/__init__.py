"""What happens in an org, as a list and as it happens."""
