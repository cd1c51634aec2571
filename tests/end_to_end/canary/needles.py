"""Secrets that can be found again in whatever form something has written them."""

import base64
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

# What JSON, URLs, shells, SQL and connection strings treat each in their own way.
AWKWARD = "\"\\+/ %&='@:#"
CORE_BYTES = 12
START_BYTES = 12
# URLs, JSON and shells change none of these characters; base64 and hexadecimal have no others.
WORD = re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % START_BYTES)


@dataclass
class Canaries:
    """Every secret that was planted, by what it is.

    Attributes:
        values: Name → the part of the secret that nothing else has.
        whole: Name → the secret as it was sent or received.
    """

    values: dict[str, str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    _known_starts: tuple[int, dict[bytes, list[tuple[bytes, str]]]] = field(
        default_factory=lambda: (0, {})
    )

    def plant(self, name: str) -> str:
        """Makes a secret that a person could choose; short enough for a password."""
        core = f"cnry{secrets.token_hex(CORE_BYTES)}"
        return self.note(name, f"{core}{AWKWARD}", core)

    def note(self, name: str, secret: str, core: str | None = None) -> str:
        """Notes a secret that the platform has made; its longest word is what is looked for."""
        words = re.findall(r"[A-Za-z0-9_-]+", secret)
        name = f"{name} {len(self.values)}"
        self.values[name] = core or max(words, key=len)
        assert len(self.values[name]) >= START_BYTES, f"{name} is too short to be looked for"
        self.whole[name] = secret
        return secret

    def found_in(self, data: bytes) -> set[str]:
        """Returns which of them a text holds, in any form."""
        starts = self._starts()
        return {
            name
            for word in WORD.finditer(data)
            for at in range(word.start(), word.end() - START_BYTES + 1)
            for form, name in starts.get(data[at : at + START_BYTES], ())
            if data.startswith(form, at)
        }

    def _starts(self) -> dict[bytes, list[tuple[bytes, str]]]:
        """Returns every form by its first bytes: one look-up tells whether one begins here."""
        if self._known_starts[0] != len(self.values):
            found: dict[bytes, list[tuple[bytes, str]]] = {}
            for name, core in self.values.items():
                for form in forms_of(core):
                    found.setdefault(form[:START_BYTES], []).append((form, name))
            self._known_starts = (len(self.values), found)
        return self._known_starts[1]


def forms_of(text: str) -> Iterator[bytes]:
    """Returns a text as it is, in base64 at each alignment, and in hexadecimal."""
    raw = text.encode()
    yield raw
    yield raw.hex().encode()
    for shift in range(3):
        # Only the characters that do not depend on what stands before or after.
        encoded = base64.b64encode(bytes(shift) + raw)
        inner = encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
