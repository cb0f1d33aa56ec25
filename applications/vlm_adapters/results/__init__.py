"""What runs leave behind: files, tables, figures, reports."""

from __future__ import annotations

from ..run_files import read_run, read_runs, read_saved_run, write_run
from .ablations import ablation_table
from .accuracy_figure import save_accuracy_figure
from .comparison import paper_comparison
from .demo_report import write_demo_report
from .differences import difference_table
from .factor_figure import save_factor_figure
from .grouping import by_setting
from .long_table import write_csv
from .paper_tables import PaperValue, paper_values
from .run_report import write_run_report
from .tables import Table, accuracy_table, fewer_images, markdown, oracle_table, protocol_table
from .terms_figure import save_terms_figure
from .training_figure import save_training_figure
from .transfers import read_transfers, transfer_table

__all__ = [
    "PaperValue",
    "Table",
    "ablation_table",
    "accuracy_table",
    "by_setting",
    "difference_table",
    "fewer_images",
    "markdown",
    "oracle_table",
    "paper_comparison",
    "paper_values",
    "protocol_table",
    "read_run",
    "read_runs",
    "read_saved_run",
    "read_transfers",
    "save_accuracy_figure",
    "save_factor_figure",
    "save_terms_figure",
    "save_training_figure",
    "transfer_table",
    "write_csv",
    "write_demo_report",
    "write_run",
    "write_run_report",
]
