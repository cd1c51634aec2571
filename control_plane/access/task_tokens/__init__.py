"""Task tokens: what a run or an interactive task gets credentials with (architecture, decision 5)."""
