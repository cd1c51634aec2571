"""The parts of test_canary.py: secrets that are unlike anything else, and where they are looked for."""
