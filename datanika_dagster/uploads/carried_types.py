"""Which PostgreSQL types a copy can carry, and as what.

Built-in types arrive as themselves, with their precision. A domain arrives as its base type and
an enum as text (its labels; the order of an enum is not part of a value). A few types of
extensions have a text form that PostgreSQL or the extension documents as lossless. Everything
else is refused by name. The binary COPY format is the type's own, so equal types on both sides
are what makes a copy exact.

Sources: https://www.postgresql.org/docs/18/datatype.html, contrib's documentation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

_REFUSED = {
    "aclitem": "it names roles of one cluster",
    "cid": "it is a number of one transaction",
    "tid": "it is a place in one table's file",
    "xid": "it is a number of one cluster's history",
    "xid8": "it is a number of one cluster's history",
    "pg_node_tree": "it is internal to one database",
}
_OF_ONE_DATABASE = "it is the number of an object in one database"
# Text input and output are inverses: documented for the contrib modules, hex EWKB for PostGIS.
_AS_TEXT = frozenset(
    {"citext", "hstore", "ltree", "lquery", "ltxtquery", "cube", "seg"}
    | {"isbn", "isbn13", "ismn", "ismn13", "issn", "issn13", "ean13", "upc"}
    | {"geometry", "geography", "vector", "halfvec", "sparsevec"}
)
_AS_OTHER = {"money": "numeric"}  # binary money is a count of units that `lc_monetary` defines

_TYPES = """
with recursive wanted(oid) as (
    select unnest(%(oids)s::oid[])
    union
    select found.oid from wanted w join pg_type t on t.oid = w.oid
    cross join lateral (values (t.typbasetype),
        (case when t.typcategory = 'A' then t.typelem else 0::oid end)) found(oid)
    where found.oid <> 0)
select t.oid, n.nspname, t.typname, t.typtype::text, t.typbasetype, t.typtypmod,
       case when t.typcategory = 'A' then t.typelem else 0::oid end
from wanted w join pg_type t on t.oid = w.oid join pg_namespace n on n.oid = t.typnamespace
"""
_FORMAT = """
select oid, typmod, format_type(oid, typmod)
from unnest(%(oids)s::oid[], %(typmods)s::int[]) as asked(oid, typmod)
"""


class UncarriableTypeError(ValueError):
    """The type has no exact copy; the text says why."""


@dataclass(frozen=True)
class CarriedType:
    """What a source type becomes.

    Attributes:
        name: The destination's type, as `format_type` writes it.
        is_cast: True where the source has to cast its values to it.
        widening: Why it is another type than the source's; None where it is the same.
    """

    name: str
    is_cast: bool = False
    widening: str | None = None


@dataclass(frozen=True)
class _Type:
    namespace: str
    name: str
    kind: str
    base: int
    base_typmod: int
    element: int

    @property
    def is_built_in(self) -> bool:
        return self.namespace == "pg_catalog" and self.kind in ("b", "r", "m")


class TypeCatalog:
    """The types of one source database that some columns use."""

    def __init__(self, connection: psycopg.Connection, uses: Iterable[tuple[int, int]]) -> None:
        """Reads the catalog.

        Args:
            connection: The source.
            uses: Type oid and type modifier of each column.
        """
        uses = set(uses)
        rows = connection.execute(_TYPES, {"oids": [oid for oid, _ in uses]}).fetchall()
        self._types = {row[0]: _Type(*row[1:]) for row in rows}
        asked = {self._bottom(oid, typmod) for oid, typmod in uses}
        rows = connection.execute(
            _FORMAT, {"oids": [a[0] for a in asked], "typmods": [a[1] for a in asked]}
        ).fetchall()
        self._names = {(oid, typmod): name for oid, typmod, name in rows}

    def carried(self, oid: int, typmod: int) -> CarriedType:
        """Returns what a column of this type becomes.

        Args:
            oid: The column's `atttypid`.
            typmod: The column's `atttypmod`.

        Raises:
            UncarriableTypeError: There is no exact copy.
        """
        found = self._types[oid]
        if found.kind == "d":
            base = self.carried(found.base, found.base_typmod)
            return CarriedType(base.name, is_cast=True, widening="the base type of the domain")
        if found.element:
            return self._array(found, typmod)
        if found.kind == "e":
            return CarriedType("text", is_cast=True, widening="the labels of the enum")
        if found.is_built_in:
            return self._built_in(found, oid, typmod)
        if found.kind == "b" and found.name in _AS_TEXT:
            return CarriedType("text", is_cast=True, widening="the type's lossless text form")
        raise UncarriableTypeError(
            "composite types are not carried"
            if found.kind == "c"
            else "it is not a type of PostgreSQL itself"
        )

    def _built_in(self, found: _Type, oid: int, typmod: int) -> CarriedType:
        if found.name in _AS_OTHER:
            other = _AS_OTHER[found.name]
            return CarriedType(other, is_cast=True, widening="exact and independent of the locale")
        if found.name.startswith("reg"):
            raise UncarriableTypeError(_OF_ONE_DATABASE)
        if found.name in _REFUSED:
            raise UncarriableTypeError(_REFUSED[found.name])
        return CarriedType(self._names[(oid, typmod)])

    def _array(self, found: _Type, typmod: int) -> CarriedType:
        element = self.carried(found.element, typmod)
        if element.name.endswith("[]"):
            raise UncarriableTypeError("arrays of arrays by way of a domain are not carried")
        return CarriedType(f"{element.name}[]", element.is_cast, element.widening)

    def _bottom(self, oid: int, typmod: int) -> tuple[int, int]:
        """Follows domains and arrays to the type whose name has to be formatted."""
        found = self._types[oid]
        if found.kind == "d":
            return self._bottom(found.base, found.base_typmod)
        return self._bottom(found.element, typmod) if found.element else (oid, typmod)
