"""People of each role in the real UI, in a real browser: their org alone, and what they may not is grey."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from datanika_dagster.gateway.app import create_app
from datanika_dagster.gateway.principal import Role
from tests.datanika_dagster.gateway.browser import CHROMIUM, Page, browser

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    # Where a field fails, Dagster leaves the coroutines of its neighbours without awaiting them.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BUTTON = """(() => {
  const found = [...document.querySelectorAll('button')].filter(
    one => /Materialize/.test(one.innerText));
  return found.length ? found.every(one => one.disabled) : null; })()"""


@pytest.fixture(scope="module")
def url(ui) -> Iterator[str]:
    """The same gateway, on a port."""
    config = uvicorn.Config(create_app(), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.1)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def page(ui) -> Iterator[Page]:
    with browser() as opened:
        yield opened


def wait_for_button(page: Page) -> bool:
    """Returns whether the button that launches is grey, when it is there and settled."""
    deadline = time.monotonic() + 30
    while page.value(BUTTON) is None and time.monotonic() < deadline:
        time.sleep(0.3)
    time.sleep(1.5)
    found = page.value(BUTTON)
    assert found is not None, page.text()[:2000]
    return found


@pytest.mark.parametrize("role", Role)
def test_the_own_org_and_nothing_else(ui, url, page, role):
    page.sign_in(url, ui.cookie(role)["Cookie"])
    page.open(f"{url}/dagster/locations")
    text = page.wait_for_text(ui.mine.location)
    assert ui.theirs.location not in text
    page.open(f"{url}/dagster/runs")
    text = page.wait_for_text(ui.mine.run.run_id[:8])
    assert ui.theirs.run.run_id[:8] not in text
    page.open(f"{url}/dagster/assets/{ui.mine.slug}/warehouse/raw/flights")
    page.wait_for_text("flights")
    assert wait_for_button(page) is not role.at_least(Role.EDITOR)
    page.open(f"{url}/dagster/assets/{ui.theirs.slug}/warehouse/raw/flights")
    time.sleep(3)
    assert page.value(BUTTON) in {None, True}


def test_an_operator_sees_both(ui, url, page):
    page.sign_in(url, ui.cookie(None)["Cookie"])
    page.open(f"{url}/dagster/locations")
    page.wait_for_text(ui.mine.location)
    page.wait_for_text(ui.theirs.location)
