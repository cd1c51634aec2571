"""The database of the control plane, for the tests that enumerate it."""

from tests.control_plane.conftest import (  # noqa: F401
    app_engine,
    databases,
    make_settings,
    outer_connection,
    session,
    vault,
)
