"""How much of what a job logs is kept: each line becomes a row of Dagster's storage, which all orgs share.

Knows no messages and no Dagster.
"""

from dataclasses import dataclass

LINES = 10_000
BYTES = 10 << 20


@dataclass
class LogAllowance:
    """What a step may still log.

    Attributes:
        lines: So many lines are kept.
        bytes_: So many bytes of them, as UTF-8.
        dropped: How many lines were not.
    """

    lines: int = LINES
    bytes_: int = BYTES
    dropped: int = 0

    def __post_init__(self) -> None:
        self._lines_left = self.lines
        self._bytes_left = self.bytes_

    def takes(self, text: str) -> bool:
        """Tells whether a line is kept, and counts it; after the first that is not, none is."""
        size = len(text.encode(errors="replace"))
        if self.dropped or self._lines_left < 1 or self._bytes_left < size:
            self.dropped += 1
            return False
        self._lines_left -= 1
        self._bytes_left -= size
        return True

    def in_words(self) -> str | None:
        """Says what was dropped and how to keep more, None where nothing was."""
        if not self.dropped:
            return None
        return (
            f"{self.dropped} further lines of the job were dropped: a step keeps {self.lines} lines "
            f"and {self.bytes_} bytes of its log. The platform's operator can allow more "
            "(DATANIKA_STEP_LOG_LINES, DATANIKA_STEP_LOG_BYTES)."
        )
