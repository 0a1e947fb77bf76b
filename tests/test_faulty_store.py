"""The proxy does what it was told, as often as it was told, and says so; a chaos run rests on that."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter

import pytest

from tests.faulty_store import Fault, FaultyStore


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault("503")),
        ("slow:GET", Fault("slow", "GET")),
        ("500_after:PUT:commits/:0.1", Fault("500_after", "PUT", "commits/", probability=0.1)),
        ("reset_before:PUT::#3", Fault("reset_before", "PUT", nth=range(3, 4))),
        ("timeout:::#2-4", Fault("timeout", nth=range(2, 5))),
    ],
)
def test_a_rule_says_which_request_it_means(text, fault):
    assert Fault.parse(text) == fault


def test_an_unknown_fault_is_refused_and_the_known_ones_told():
    with pytest.raises(ValueError, match=r"'sloow'.*slow"):
        Fault.parse("sloow:GET")


def test_one_seed_gives_one_sequence_of_faults_and_another_gives_another():
    def sequence(seed):
        with FaultyStore("http://127.0.0.1:9", [Fault("503", probability=0.3)], seed=seed) as store:
            return [store.due("GET", "/b/k") for _ in range(50)]

    assert sequence(1) == sequence(1) != sequence(2)
    assert 5 < Counter(sequence(1))["503"] < 30


def test_beside_a_process_it_prints_its_url_and_in_the_end_what_it_did():
    command = [
        sys.executable,
        "-m",
        "tests.faulty_store",
        "--upstream",
        "http://127.0.0.1:9",
        "--faults",
        "503:GET::#1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        url = proxy.stdout.readline().strip()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/bucket/key")
        with pytest.raises(OSError, match=r"reset|closed"):  # no store behind it
            urllib.request.urlopen(f"{url}/bucket/key")
        assert json.load(urllib.request.urlopen(f"{url}/-/counts")) == {
            "did": {"503": 1},
            "asked": {"GET": 2},
        }
        proxy.send_signal(signal.SIGTERM)
        assert json.loads(proxy.stdout.read()) == {"did": {"503": 1}, "asked": {"GET": 2}}
        assert proxy.wait() == 0
