"""`[prices]`: what machines and requests cost, on which day. What no table says has no price."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import Place, Table

Dollars = Annotated[float, Field(ge=0, le=1e9)]
Market = Literal["on-demand", "spot", "reserved"]


class InstancePrice(Table):
    """One kind of machine in one market."""

    instance: Place
    """Its name, for people."""
    market: Market = "on-demand"
    """Spot machines may be taken away at any time, and cost less."""
    dollars: Dollars
    """An hour of one machine."""
    cpus: Annotated[float, Field(gt=0)]
    """CPUs of one machine."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of one machine."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Of one machine. Default: not known, and nothing is held against it."""
    used: bool = False
    """Whether the job runs on such machines: a budget counts at the prices of these. Default: where
    no row says so all may be used, and each worker counts at the dearest that has room for it."""

    @property
    def name(self) -> str:
        """Instance and market in words."""
        return f"{self.instance} {self.market}"

    def workers(self, cpus: float, gpus: float, memory_bytes: float = 0.0) -> int:
        """Return how many workers of a kind one machine has room for."""
        rooms = [self.cpus / cpus]
        if gpus:
            by_gpus = self.gpus / gpus
            rooms.append(by_gpus)
        if memory_bytes and self.memory_gb is not None:
            rooms.append(self.memory_gb * 1e9 / memory_bytes)
        return int(min(rooms))


class RequestPrices(Table):
    """What a store takes for a thousand requests."""

    read: Dollars = 0.0
    """Of GET and HEAD."""
    write: Dollars = 0.0
    """Of PUT and LIST."""


class Prices(Table):
    """Prices of one day."""

    on: date | None = None
    """The day on which they were looked up: they change."""
    file: Place | None = None
    """A TOML file, relative to the job file, that has the other keys: one for many jobs."""
    instances: tuple[InstancePrice, ...] = ()
    """Machines that workers may run on."""
    requests: RequestPrices | None = None
    """Default: requests are counted, and cost nothing."""

    @model_validator(mode="after")
    def _whole(self) -> Prices:
        if self.file is not None:
            if self.on is not None or self.instances or self.requests is not None:
                raise ValueError("names a file and has prices of its own; say one of them")
            return self
        if self.on is None or not self.instances:
            raise ValueError(
                "lacks the day of the prices, as on = 2026-11-29, or has no"
                " [[prices.instances]]; give both"
            )
        names = [each.name for each in self.instances]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"has two prices of {twice}; give one of each instance and market")
        return self
