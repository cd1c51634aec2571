"""Every connector that the product knows. A new one is one file and one line here."""

from datanika_manifest.connectors import managed_warehouse, postgres
from datanika_manifest.connectors.base import ConnectorDeclaration

CONNECTORS: dict[str, ConnectorDeclaration] = {
    "managed_warehouse": managed_warehouse.DECLARATION,
    "postgres": postgres.DECLARATION,
}
