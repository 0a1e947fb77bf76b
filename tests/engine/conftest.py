"""A Ray in this process, started as the command starts it."""

from __future__ import annotations

import pytest

from tests.engine.here import ray_here


@pytest.fixture(scope="package")
def ray():
    """Connected, and ended afterwards."""
    with ray_here() as ray:
        yield ray
