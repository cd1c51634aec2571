"""The parts of test_race.py: what a client does, over and over, and what must hold afterwards."""
