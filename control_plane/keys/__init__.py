"""The keys of the platform: sealed or not, unlocking, changing and rotating them."""
