from __future__ import annotations

from contextlib import suppress

import pyarrow as pa

from distill.loader.allocator import system_allocator


def test_the_process_keeps_another_allocator_than_it_had(monkeypatch):
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    before = pa.default_memory_pool().backend_name
    used = []
    with suppress(ZeroDivisionError), system_allocator():
        used.append(pa.default_memory_pool().backend_name)
        used.append(1 // 0)
    assert used == ["system"]
    assert pa.default_memory_pool().backend_name == before


def test_the_users_own_choice_of_an_allocator_is_passed_over(monkeypatch):
    before = pa.default_memory_pool().backend_name
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", before)
    with system_allocator():
        assert pa.default_memory_pool().backend_name == before
