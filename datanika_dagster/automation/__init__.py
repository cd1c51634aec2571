"""When targets run without a person: pure functions of the manifest, never of a database."""
