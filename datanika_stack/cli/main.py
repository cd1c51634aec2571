"""The `datanika` command: the stack's own commands and those that speak to the REST API."""

import typer

from datanika_stack.cli.nouns import add_nouns
from datanika_stack.cli.stack import add_stack
from datanika_stack.cli.workers import add_workers
from datanika_stack.demo.command import add_demo

app = typer.Typer(
    name="datanika",
    help="Load, transform and check data: runs the stack, and speaks to its REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show the values of local variables
)
add_stack(app)
add_workers(app)
add_demo(app)
add_nouns(app)

if __name__ == "__main__":
    app()
