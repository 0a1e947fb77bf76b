import gc
import threading
from concurrent.futures import ThreadPoolExecutor

from distill.core.syntax import parse_python

DEEP = "x = " + "(" * 60 + "1" + ")" * 60 + "\n" + "def f():\n    return [1, 2, {3: (4, 5)}]\n" * 50


class Yields:
    """Collected in the middle of a parse, it hands the interpreter to another thread."""

    def __init__(self):
        self.me = self

    def __del__(self):
        gap.wait(0.0005)


gap = threading.Event()


def test_threads_that_parse_at_once_end_in_a_system_error():
    def parse(number):
        for _ in range(20):
            _ = [Yields() for _ in range(5)]
            assert len(parse_python(DEEP).body) == 51
        return number

    before = gc.get_threshold()
    gc.set_threshold(50, 2, 2)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(parse, range(8))) == list(range(8))
    finally:
        gc.set_threshold(*before)
