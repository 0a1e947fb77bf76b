"""Data sets of the Hugging Face hub, on a server that speaks what is used of it."""

import pytest

from distill.core.errors import JobError, PoolError, StorageError
from distill.pools.inventory import read_inventory
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.run import label_pool, verify_labels
from distill.spec.pools import Pool
from distill.storage.open import open_storage
from distill.storage.remote import forget_filesystems
from distill.storage.request_counts import requests
from tests.storage.test_http import parquet
from tests.storage.web_server import HubServer, WebServer, serving
from tests.tiny import DOUBLING, tiny_job, write_pool

URI = "hf://datasets/org/rows@main/data"
FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def hub(monkeypatch):
    """The hub, whose branch `main` is at a first commit."""
    with serving(WebServer()) as store, serving(HubServer(store)) as server:
        tree = {f"data/part-{number}.parquet": parquet(50, 50 * number) for number in range(4)}
        server.trees[FIRST] = tree | {"data/small.txt": b"few", "README.md": b"# rows", "x/y": b"z"}
        server.commits["main"] = FIRST
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_SEKRIT")
        forget_filesystems()
        yield server
    forget_filesystems()


def move(hub, **files):
    hub.trees[SECOND] = hub.trees[FIRST] | {
        f"data/{name}.parquet": content for name, content in files.items()
    }
    hub.commits["main"] = SECOND


def test_a_folder_is_listed_by_pages_and_read_from_where_the_hub_keeps_it(hub):
    files = open_storage(URI).pinned()
    assert files.uri == f"hf://datasets/org/rows@{FIRST}/data"
    found = {entry.key: entry for entry in files.list_objects()}
    assert sorted(found) == [*(f"part-{number}.parquet" for number in range(4)), "small.txt"]
    for key, entry in found.items():
        content = hub.trees[FIRST][f"data/{key}"]
        assert entry.size_bytes == len(content)
        assert files.read(key) == content
        assert files.entry(key) == entry
        with files.open(key) as file:
            file.seek(2)
            assert file.read() == content[2:]
    assert {by for _, path, by in hub.seen if "org/rows" in path} == {"Bearer hf_SEKRIT"}
    assert {by for *_, by in hub.store.seen} == {None}, "the token went to another host"


def test_the_whole_data_set_or_one_file_of_it_is_a_folder(hub):
    assert len(open_storage(f"hf://datasets/org/rows@{FIRST}").list_objects()) == 7
    one = open_storage(f"{URI}/part-2.parquet".replace("main", FIRST))
    assert [entry.key for entry in one.list_objects()] == ["part-2.parquet"]
    assert one.read("part-2.parquet") == hub.trees[FIRST]["data/part-2.parquet"]


def test_a_branch_that_moves_on_changes_no_listed_pool(hub, tmp_path):
    root = open_storage(str(tmp_path))
    spec = Pool(path=URI, format="parquet")
    del hub.trees[FIRST]["data/small.txt"]
    listed = take_inventory(root, "rows", open_storage(URI), spec=spec)
    assert listed.uri == f"hf://datasets/org/rows@{FIRST}/data"
    assert (listed.rows, len(list(listed.shards))) == (200, 4)
    move(hub, new=parquet(9), **{"part-1": parquet(50)})
    again = take_inventory(root, "rows", open_storage(URI), spec=spec)
    assert again == listed == read_inventory(root, "rows", URI)
    rows = read_chunk(again, 1, range(3), ("x",)).table["x"].to_pylist()
    assert rows == [50, 51, 52]
    assert len(root.list_objects()) == 1


JOB = f"""
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "{URI}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["rows"]
"""


def test_a_branch_that_moves_between_two_runs_stops_them(hub, tmp_path):
    write_pool(tmp_path / "pool", [100, 70])
    parts = sorted((tmp_path / "pool").iterdir())
    hub.trees[FIRST] = {f"data/{part.name}": part.read_bytes() for part in parts}
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    (first,) = label_pool(tiny_job(tmp_path, JOB), "teacher", engine="local")
    assert first.rows == 170
    move(hub, **{"part-00000": b"other rows"})
    job = tiny_job(tmp_path, JOB)
    (again,) = label_pool(job, "teacher", engine="local")
    assert again.rows == 170
    (verified,) = verify_labels(job, "teacher")
    assert (verified.rows, verified.problems) == (170, ())


def test_a_newer_commit_is_growth_once_the_job_names_it(hub, tmp_path):
    root = open_storage(str(tmp_path))
    del hub.trees[FIRST]["data/small.txt"]
    first = take_inventory(root, "rows", open_storage(URI))
    move(hub, new=parquet(9))
    newer = URI.replace("main", SECOND)
    grown = take_inventory(root, "rows", open_storage(newer))
    assert (grown.uri, grown.rows) == (newer, 209)
    assert grown.digest == first.digest
    hub.trees[SECOND].pop("data/part-0.parquet")
    with pytest.raises(PoolError, match=r"vanished since they were listed \(part-0\.parquet\)"):
        take_inventory(root, "rows", open_storage(newer))


def test_what_the_hub_does_not_show_is_named(hub):
    for uri in (URI.replace("main", "nowhere"), URI.replace("org/rows", "org/other")):
        with pytest.raises(StorageError, match=r"no such data set or revision.*HF_TOKEN"):
            open_storage(uri).pinned()
        with pytest.raises(StorageError, match="no such data set or revision"):
            open_storage(uri).list_objects()
    assert open_storage(f"{URI}/nothing").list_objects() == []


def test_a_busy_hub_is_asked_again(hub):
    before = requests()
    hub.failing = 1
    assert open_storage(URI).pinned().uri.endswith(f"@{FIRST}/data")
    hub.failing = 1
    assert open_storage(URI.replace("main", FIRST)).read("small.txt") == b"few"
    done = requests() - before
    assert (done.list, done.get) == (2, 2)


@pytest.mark.parametrize(
    "uri", ["hf://datasets/org/rows/data", "hf://datasets/rows@main", "hf://org/rows/x"]
)
def test_an_address_without_a_revision_is_refused(uri):
    with pytest.raises(JobError, match="at a revision"):
        open_storage(uri)


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/convert/parquet", "refs%2Fpr%2F3"])
def test_a_revision_of_any_form_is_taken(revision):
    assert open_storage(f"hf://datasets/org/rows@{revision}/a/b.parquet").uri.endswith("b.parquet")
