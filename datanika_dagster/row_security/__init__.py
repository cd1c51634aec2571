"""Row-level security on Dagster's own tables: an org's login sees and writes its own rows.

One Dagster database serves every org. Runs and code servers open it with a login of their org
(`run_logins.py`); gateway and daemon with the role that owns the tables, which sees everything.
Knows Dagster's tables and the name of the provisioner's role, no process and no password.
"""
