"""The job process of `entries.py`, which beats a thousand times a second."""

from tests.datanika_dagster.launcher import entries

if __name__ == "__main__":
    entries.BEAT_SECONDS = 0.001
    entries.main()
