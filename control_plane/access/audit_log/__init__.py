"""Who may read the audit log, and how: the log itself knows no callers."""
