"""What was deleted and can be restored, over all kinds of resources."""
