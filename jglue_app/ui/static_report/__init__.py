"""Stored runs as one file of HTML that opens without a server and without a network.

It has the views of the page, in both languages: scoreboard, item list, and every item with its prompt, outputs,
readings, log-likelihoods and protocols. The views of items are stored as data and drawn by the page's own templates
when an item is opened; see `shared_values` and `template_script`.
"""

from __future__ import annotations

from jglue_app.ui.static_report.contents import MAX_ITEMS, MAX_RUNS, ReportRequest
from jglue_app.ui.static_report.document import file_name, report_html, report_of_folders, write_report

__all__ = ["MAX_ITEMS", "MAX_RUNS", "ReportRequest", "file_name", "report_html", "report_of_folders", "write_report"]
