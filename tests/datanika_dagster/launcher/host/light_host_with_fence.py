"""The light host, behind whatever fence this machine allows."""

from datanika_dagster.launcher.fence import probe
from tests.datanika_dagster.launcher.host import light_host

if __name__ == "__main__":
    light_host.main(probe())
