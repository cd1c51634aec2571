"""The light host, whose upkeep takes for ever: a tree with millions of files, or a disk that hangs."""

import time
from dataclasses import dataclass

from datanika_dagster.launcher.host.places import Living, Places
from tests.datanika_dagster.launcher.host import light_host


@dataclass(frozen=True)
class SlowPlaces(Places):
    """Places that nobody is done with."""

    def tidy_up(self, living: Living) -> int:
        time.sleep(light_host.FOREVER)
        return 0


if __name__ == "__main__":
    light_host.main(kind=SlowPlaces)
