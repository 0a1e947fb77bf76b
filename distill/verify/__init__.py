"""What is stored: `verify` proves the invariants on it, `status` says what is done and left."""

from __future__ import annotations

from distill.verify.stage import Verified, verify_labels
from distill.verify.status import StatusLine, job_status

__all__ = ["StatusLine", "Verified", "job_status", "verify_labels"]
