"""The parts of test_matrix.py: who calls, how valid requests look, and what must come back."""
