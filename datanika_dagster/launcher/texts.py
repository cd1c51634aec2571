"""Text that every store behind a job can take.

PostgreSQL refuses NUL in text, and half of a surrogate pair is no Unicode text at all. Both are
easy to write in a tenant's template, and must not cost more than the character itself.
"""

import re
from typing import Any

REPLACEMENT_CHARACTER = "�"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Returns a JSON value whose texts, keys included, can be stored; lengths stay.

    Args:
        value: What `json.loads` returned, or can write.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT_CHARACTER, value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value
