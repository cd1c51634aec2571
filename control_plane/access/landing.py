"""Where people come to who have signed in on the platform's pages."""

WELCOME_PATH = "/welcome"


def landing_url(wanted: str | None) -> str:
    """Returns where somebody goes who has just signed in.

    The Dagster UI lets people in orgs in, and leads the others to the page of where they belong.

    Args:
        wanted: Where they wanted to go, already checked to be no other site; None for nowhere.
    """
    return wanted or WELCOME_PATH
