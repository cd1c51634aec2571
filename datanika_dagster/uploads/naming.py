"""dlt's naming convention for copies: every identifier stays exactly what it is in the source.

dlt's own conventions fold case or replace quotes, so that `userID` and `user_id`, or `a"b` and
`a_b`, would become one column. PostgreSQL limits identifiers to 63 bytes on both sides, hence
nothing ever needs to be shortened.
"""

from collections.abc import Sequence
from typing import ClassVar

from dlt.common.normalizers.naming import NamingConvention as BaseNamingConvention


class NamingConvention(BaseNamingConvention):
    """Keeps identifiers as they are."""

    PATH_SEPARATOR: ClassVar[str] = "\x00"  # the one character that no identifier can contain

    @property
    def is_case_sensitive(self) -> bool:
        """Identifiers are quoted, so their case counts."""
        return True

    def normalize_identifier(self, identifier: str) -> str:
        """Returns `identifier`."""
        return identifier

    def normalize_path(self, path: str) -> str:
        """Returns `path`: copied tables have no nested fields."""
        return path

    def normalize_tables_path(self, path: str) -> str:
        """Returns `path`: copied tables have no child tables."""
        return path

    def break_path(self, path: str) -> Sequence[str]:
        """Returns `path` as its only part."""
        return [path]
