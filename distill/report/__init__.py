"""`distill report`: an evaluation as one HTML page that can be read, printed and sent on."""

from __future__ import annotations

from distill.report.stage import require_report_extra, write_report

__all__ = ["require_report_extra", "write_report"]
