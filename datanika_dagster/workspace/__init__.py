"""The orgs' code locations as webserver and daemon see them, whether their servers run or sleep."""
