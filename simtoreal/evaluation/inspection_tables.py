"""Tables of a report as the terminal shows them."""

from rich.table import Table as RichTable
from rich.text import Text

from simtoreal.evaluation.report import Table


def terminal_table(table: Table) -> RichTable | Text:
    """A table of a report for the terminal; where it is empty, its note."""
    if not table.rows:
        return Text(f"{table.title}: {table.note}")
    shown = RichTable(title=table.title, caption=table.note or None, title_justify="left", caption_justify="left")
    numeric = "success" in table.columns or "kB" in table.columns or "distance (m)" in table.columns
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if numeric and index else "left", overflow="fold")
    shown.show_header = any(table.columns[1:])
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))  # Text, not markup: a path may hold [brackets]
    return shown
