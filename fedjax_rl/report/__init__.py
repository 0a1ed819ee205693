"""One self-contained HTML page about runs, comparisons and sweeps."""

from fedjax_rl.report.page import page_of, write_report

__all__ = ["page_of", "write_report"]
