"""What a dbt job tells the run: one message per node or test that has ended.

Written in the job child, read in the run child. The run child believes no more of it than it
can check against the pinned manifest (`events.py`).
"""

from typing import Literal

from pydantic import Field

from datanika_manifest.base import Frozen

KEY = "dbt"
"""The key under which a message travels: `{"dbt": {…}}`."""


class NodeResult(Frozen):
    """How a node or a test ended.

    `rows` is the number of rows written, for a view the number of rows it returns, None where it
    is not known. `failures` is a test's number of failing rows.
    """

    unique_id: str = Field(max_length=500)
    status: Literal["success", "error", "skipped", "pass", "warn", "fail"]
    started_at: str | None = Field(default=None, max_length=40)
    finished_at: str | None = Field(default=None, max_length=40)
    duration_seconds: float | None = Field(default=None, ge=0)
    rows: int | None = Field(default=None, ge=0)
    failures: int | None = Field(default=None, ge=0)
    message: str | None = Field(default=None, max_length=4000)
    adapter_response: str | None = Field(default=None, max_length=200)
