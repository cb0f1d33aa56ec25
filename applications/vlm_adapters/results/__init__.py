"""What runs leave behind: files, tables, figures."""

from __future__ import annotations

from .figures import save_accuracy_figure
from .report import write_report
from .store import whole_file, write_csv, write_json, write_text
from .tables import accuracy_table, difference_table, markdown

__all__ = [
    "accuracy_table",
    "difference_table",
    "markdown",
    "save_accuracy_figure",
    "whole_file",
    "write_csv",
    "write_json",
    "write_report",
    "write_text",
]
