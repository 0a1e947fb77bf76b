"""`[budget]`: how much all runs of a root may spend together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from distill.spec.base import Table

Limit = Annotated[float, Field(gt=0, le=1e12)]


class Budget(Table):
    """Limits. A run that passes one begins nothing more, commits what is in work and ends with exit
    code 3; with a higher limit the same command goes on."""

    money: Limit | None = None
    """Dollars, at the prices of `[prices]`."""
    hours: Limit | None = None
    """In which any run was at work."""
    gpu_hours: Limit | None = None
    """GPUs of workers times the hours in which they worked."""

    @model_validator(mode="after")
    def _some_limit(self) -> Budget:
        if self.money is None and self.hours is None and self.gpu_hours is None:
            raise ValueError("sets no limit; give money, hours or gpu_hours")
        return self
