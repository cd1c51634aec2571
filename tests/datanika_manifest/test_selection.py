"""Which assets a target has, and which connections assets need."""

from datanika_manifest.code_location import CodeLocation
from datanika_manifest.selection import (
    all_asset_keys,
    connection_ids,
    transformation_asset_keys,
    upload_asset_keys,
)
from tests.datanika_manifest.manifests import DAILY, ITEMS, ORDERS, PEOPLE, manifest

SHOP, CRM, WAREHOUSE = 1, 2, 3


def test_every_asset_uploads_first():
    assert all_asset_keys(manifest()) == [ORDERS, ITEMS, PEOPLE, DAILY]


def test_the_tables_of_an_upload():
    assert upload_asset_keys(manifest(), 11) == [ORDERS, ITEMS]
    assert upload_asset_keys(manifest(), 99) == []


def test_the_model_of_a_transformation():
    assert transformation_asset_keys(manifest(), 21) == [DAILY]
    assert transformation_asset_keys(manifest(), 11) == []


class TestConnections:
    def test_a_table_needs_both_of_its_uploads_and_no_other(self):
        assert connection_ids(manifest(), [ORDERS]) == [SHOP, WAREHOUSE]

    def test_a_model_needs_its_warehouse_only(self):
        assert connection_ids(manifest(), [DAILY]) == [WAREHOUSE]

    def test_keys_may_come_as_lists(self):
        assert connection_ids(manifest(), [list(PEOPLE)]) == [CRM, WAREHOUSE]

    def test_everything(self):
        assert connection_ids(manifest(), None) == [SHOP, CRM, WAREHOUSE]

    def test_nothing_is_not_everything(self):
        assert connection_ids(manifest(), []) == []

    def test_an_unknown_key_opens_nothing(self):
        assert connection_ids(manifest(), [("globex", "warehouse", "shop", "orders")]) == []

    def test_an_empty_manifest(self):
        assert connection_ids(CodeLocation(org_id=1, org="acme"), None) == []
