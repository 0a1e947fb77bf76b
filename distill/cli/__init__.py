"""The command `distill`: the process edge. It alone reads argv, configures logging, starts Ray, shows progress and exits.

Exit codes: 0 done, 1 failed after work began, 2 wrong before any work. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

from distill.cli.commands import main

__all__ = ["main"]
