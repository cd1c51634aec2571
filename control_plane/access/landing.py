"""Where people come to who have signed in on the platform's pages.

The Dagster UI shows every org, so its gateway refuses everybody but platform operators: others are
not sent there, also where that is where they came from.
"""

from urllib.parse import urlsplit

from control_plane.access.same_site import origin_of_url
from control_plane.settings import Settings

WELCOME_PATH = "/welcome"


def landing_url(settings: Settings, wanted: str | None, *, is_operator: bool) -> str:
    """Returns where somebody goes who has just signed in.

    Args:
        settings: With the platform's URLs.
        wanted: Where they wanted to go, already checked to be no other site; None for nowhere.
        is_operator: Whether they run the platform.
    """
    if not wanted or (not is_operator and _is_in_dagster_ui(settings, wanted)):
        return WELCOME_PATH
    return wanted


def _is_in_dagster_ui(settings: Settings, url: str) -> bool:
    dagster_url = settings.dagster_public_url
    if origin_of_url(url) != origin_of_url(dagster_url):
        return False
    if origin_of_url(settings.public_url) != origin_of_url(dagster_url):
        return True
    return f"{urlsplit(url).path}/".startswith(f"{urlsplit(dagster_url).path.rstrip('/')}/")
