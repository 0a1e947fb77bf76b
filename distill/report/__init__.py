"""`distill report`: an evaluation as one HTML page that can be read, printed and sent on."""

from __future__ import annotations

from distill.report.stage import write_report

__all__ = ["write_report"]
