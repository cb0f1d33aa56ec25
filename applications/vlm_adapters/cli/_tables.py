"""Tables on standard output."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable


def print_table(table: list[list[str]]) -> None:
    """A table, turned so that its methods fit side by side on 80 columns.

    Args:
        table: Header and rows.
    """
    header, *rows = zip(*table, strict=True)
    shown = RichTable(
        "",
        *header[1:],
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in shown.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        shown.add_row(*row)
    console = Console()
    console.print(header[0], soft_wrap=True, highlight=False)
    width = sum(max(map(len, column)) + 3 for column in table_columns(table))
    Console(width=max(console.width, width)).print(shown)  # wider than the terminal: not cut


def table_columns(table: list[list[str]]) -> list[list[str]]:
    """The columns as they are shown: a method each, behind the shots.

    Args:
        table: Header and rows.

    Returns:
        Cells by column.
    """
    shots, *methods = table
    return [shots[1:], *methods]
