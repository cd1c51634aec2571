"""What happens in an org, for clients that want to know at once."""
