"""Pools behind http(s): one file, or a list of files."""

import contextlib
import gzip
import hashlib
import io
import logging
import time
import traceback

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import JobError, PoolError, StorageError
from distill.plan.load import load_job
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.storage import http, retry, transfers
from distill.storage.base import ObjectMissingError
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.ports import free_port
from tests.storage.web_server import WebServer, serving
from tests.waiting import slowness

CONTENT = bytes(range(256)) * 1200


@pytest.fixture
def web():
    with serving(WebServer()) as server:
        yield server


def parquet(rows, start=0):
    content = io.BytesIO()
    table = pa.table({"x": pa.array(range(start, start + rows), pa.int64())})
    pq.write_table(table, content, row_group_size=64)
    return content.getvalue()


def test_one_file_is_listed_and_read_by_range(web):
    web.files["/data/part.bin"] = CONTENT
    files = open_storage(f"{web.url}/data/part.bin")
    (entry,) = files.list_objects()
    assert (entry.key, entry.size_bytes) == ("part.bin", len(CONTENT))
    assert files.url(entry.key) == files.uri
    assert files.read("part.bin") == CONTENT
    before = requests()
    with files.open("part.bin") as file:
        assert file.read(1000) == CONTENT[:1000]
        file.seek(-10, io.SEEK_END)
        assert file.read() == CONTENT[-10:]
    assert (requests() - before).get == 2
    assert (requests() - before).bytes_read < 70_000


def test_a_list_names_files_relative_to_it_and_elsewhere(web):
    with serving(WebServer()) as other:
        web.files = {"/sets/a/1.bin": b"one", "/sets/b c.bin": b"two"}
        other.files = {"/x/3.bin": b"three"}
        lines = f"# the rows\na/1.bin\n\nb c.bin  # a space\n{other.url}/x/3.bin\na/1.bin\n"
        web.files["/sets/rows.txt"] = lines.encode()
        files = open_storage(f"{web.url}/sets/rows.txt")
        keys = [entry.key for entry in files.list_objects()]
        assert keys == ["a/1.bin", "b c.bin", f"{other.url}/x/3.bin"]
        assert [files.read(key) for key in keys] == [b"one", b"two", b"three"]


def test_a_pool_is_listed_labelled_by_row_and_its_growth_seen(web, tmp_path):
    web.files = {
        "/rows.txt": b"a.parquet\nb.parquet\n",
        "/a.parquet": parquet(100),
        "/b.parquet": parquet(70, 100),
    }
    root, files = open_storage(str(tmp_path)), open_storage(f"{web.url}/rows.txt")
    listed = take_inventory(root, "rows", files)
    assert [(shard.key, shard.rows) for shard in listed.shards] == [
        ("a.parquet", 100),
        ("b.parquet", 70),
    ]
    assert read_chunk(listed, 1, range(65, 70), ("x",)).table["x"].to_pylist() == list(
        range(165, 170)
    )
    web.files["/c.parquet"] = parquet(5)
    web.files["/rows.txt"] += b"c.parquet\n"
    assert take_inventory(root, "rows", files).rows == 175
    web.files["/a.parquet"] = parquet(100, 7)
    with pytest.raises(
        PoolError, match=r"1 files .* changed since they were listed \(a\.parquet\)"
    ):
        take_inventory(root, "rows", files)


def test_one_parquet_file_is_a_pool(web, tmp_path):
    web.files = {"/data/rows.parquet": parquet(100)}
    files = open_storage(f"{web.url}/data/rows.parquet")
    assert take_inventory(open_storage(str(tmp_path)), "rows", files).rows == 100


def test_a_file_replaced_while_it_is_read_is_an_error_and_no_mixture(web):
    web.files["/part"] = CONTENT
    with open_storage(f"{web.url}/part").open("part") as file:
        file.read(10)
        web.files["/part"] = CONTENT[::-1]
        file.seek(100_000)
        with pytest.raises(StorageError, match="changed while it was being read"):
            file.read(10)


def test_a_server_without_ranges_or_versions_is_refused_by_name(web):
    web.files["/part"] = CONTENT
    files = open_storage(f"{web.url}/part")
    web.ranges = False
    with pytest.raises(StorageError, match="gives whole files, and no ranges"):
        files.open("part")
    web.etags = web.dates = False
    with pytest.raises(StorageError, match="neither ETag nor Last-Modified"):
        files.list_objects()
    web.dates = True
    assert files.list_objects()[0].token == "Sun, 29 Nov 2026 12:00:00 GMT"


def test_small_and_empty_files_are_read_from_any_server(web):
    web.files = {"/small": b"rows", "/empty": b""}
    for web.ranges in (True, False):
        assert open_storage(f"{web.url}/small").open("small").read() == b"rows"
        assert open_storage(f"{web.url}/empty").open("empty").read() == b""


def test_what_passes_is_asked_again_and_what_does_not_is_named(web, monkeypatch):
    web.files["/part"] = CONTENT
    files = open_storage(f"{web.url}/part")
    web.failing = 2
    assert files.read("part") == CONTENT
    with pytest.raises(ObjectMissingError, match="/gone"):
        open_storage(f"{web.url}/gone").list_objects()
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.3)
    web.failing = 10**6
    with pytest.raises(StorageError, match=r"/part: the store did not answer .*503"):
        files.read("part")


def test_an_error_names_a_class_of_ours_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.3)
    with pytest.raises(StorageError, match=r"\(HTTPConnection\(host=.* Connection refused"):
        open_storage(f"http://127.0.0.1:{free_port()}/part").read("part")


@pytest.mark.parametrize(
    "line", ["a.bin?token=SEKRIT", "http://me:SEKRIT@h/a.bin", "file:///etc/SEKRIT"]
)
def test_a_line_that_may_hold_a_secret_or_leaves_the_web_is_refused(web, line):
    web.files["/rows.txt"] = f"{line}\n".encode()
    with pytest.raises(StorageError, match="no plain http") as told:
        open_storage(f"{web.url}/rows.txt").list_objects()
    assert ("SEKRIT" in str(told.value)) == line.startswith("file:")


@pytest.mark.parametrize("uri", ["https://host/rows.txt", "hf://datasets/org/rows@main/data"])
def test_nothing_is_written_there(uri, tmp_path):
    files = open_storage(uri)
    for write in (files.put, files.create, files.put_if_absent):
        with pytest.raises(
            StorageError, match=r"cannot be written: (https|hf):// is for reading pools"
        ):
            write("a", b"x")
    with pytest.raises(StorageError, match="cannot be written"):
        files.delete("a")
    job = tmp_path / "job.toml"
    pool = '[pools.all]\npath = "pool"\nfeatures = { kind = "vector", columns = ["x"] }\n'
    job.write_text(f'root = "{uri}"\n{pool}')
    with pytest.raises(JobError, match=r"root: .* nothing can be written there"):
        load_job(job)


def test_a_server_on_a_port_is_no_secret_and_a_password_is_one():
    assert open_storage("http://127.0.0.1:8080/a@b.txt").uri == "http://127.0.0.1:8080/a@b.txt"
    for uri in ("http://me:SEKRIT@h/a.txt", "https://me:SEK/RIT@h/a.txt"):
        with pytest.raises(JobError, match="carries credentials") as told:
            open_storage(uri)
        assert "SEK" not in str(told.value)
    with pytest.raises(JobError, match="followed by a query"):
        open_storage("https://host/a.txt?sig=x")


def test_a_server_that_knows_no_range_from_the_end_does_not_make_a_file_empty(web):
    def odd(handler):
        if "bytes=-" in handler.headers.get("Range", ""):
            handler.send(416, b"", {"Content-Range": f"bytes */{len(CONTENT)}"})
            return True
        return False

    web.files["/part"] = CONTENT
    web.odd = odd
    with open_storage(f"{web.url}/part").open("part") as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("said", ["bytes 0-{last}/{size}", "bytes {first}-{end}/*", ""])
def test_another_range_than_was_asked_for_is_refused(web, said):
    """Some servers take the last n bytes for the first."""

    def odd(handler):
        count = int(handler.headers.get("Range", "0").removeprefix("bytes=-"))
        if count:
            size = len(CONTENT)
            numbers = {"last": count - 1, "first": size - count, "end": size - 1, "size": size}
            headers = {"ETag": '"1"'} | ({"Content-Range": said.format(**numbers)} if said else {})
            handler.send(206, CONTENT[:count], headers)
        return count > 0

    web.files["/part"] = CONTENT
    web.odd = odd
    with pytest.raises(StorageError, match="gives another range than it is asked for"):
        open_storage(f"{web.url}/part").open("part")


def test_a_shifted_range_is_refused(web):
    web.files["/part"] = CONTENT
    with open_storage(f"{web.url}/part").open("part") as file:

        def odd(handler):
            etag = hashlib.md5(CONTENT).hexdigest()
            headers = {"ETag": f'"{etag}"', "Content-Range": f"bytes 7-106/{len(CONTENT)}"}
            handler.send(206, CONTENT[7:107], headers)
            return True

        web.odd = odd
        with pytest.raises(StorageError, match="gives another range than it is asked for"):
            file.read(100)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "/part"])
def test_a_redirect_to_no_file_is_told_at_once(web, target):
    def odd(handler):
        handler.send(302, b"", {"Location": target})
        return True

    web.odd = odd
    began = time.monotonic()
    with pytest.raises(StorageError, match="redirects to where no file is"):
        open_storage(f"{web.url}/part").list_objects()
    assert time.monotonic() - began < 5 * slowness()


@pytest.mark.parametrize("status", [300, 301, 302])
@pytest.mark.parametrize(
    "read",
    [
        lambda url: open_storage(f"{url}/rows.txt").list_objects(),
        lambda url: open_storage(f"{url}/part").list_objects(),
        lambda url: open_storage(f"{url}/part").open("part"),
        lambda url: open_storage(f"{url}/part").read("part"),
    ],
)
def test_the_page_of_a_redirect_that_leads_nowhere_is_read_as_the_file(web, status, read):
    def odd(handler):
        handler.send(status, b"hello", {"ETag": '"1"'})
        return True

    web.odd = odd
    with pytest.raises(StorageError, match=f"answers {status} and says no other address"):
        read(web.url)
    assert web.asked.total() == 1


@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_no_signature_of_a_redirect_stands_in_an_error(web, status):
    def odd(handler):
        if handler.path != "/part":
            handler.send(status, b"", {})
        else:
            handler.send(302, b"", {"Location": "/store/part?X-Sig=SECRET&e=1"})
        return True

    web.odd = odd
    with pytest.raises(StorageError) as caught:
        open_storage(f"{web.url}/part").list_objects()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("end", ["file", "circle", "gone"])
def test_a_signature_stands_in_the_log_from_the_second_redirect_on(web, monkeypatch, caplog, end):
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG)
    ends = {
        "file": "/file?Signature=SECRET",
        "circle": "/part?Signature=SECRET",
        "gone": f"http://127.0.0.1:{free_port()}/file?Signature=SECRET",
    }
    leads = {"/part": "/second?X-Amz-Signature=SECRET&e=1", "/second": ends[end]}

    def odd(handler):
        target = leads.get(handler.path.partition("?")[0])
        if target:
            handler.send(302, b"", {"Location": target})
        return target is not None

    web.files["/file"] = CONTENT
    web.odd = odd
    files = open_storage(f"{web.url}/part")
    if end == "file":
        assert files.read("part") == CONTENT
    else:
        with pytest.raises(StorageError) as caught:
            files.read("part")
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))
    assert "/part" in caplog.text
    assert "SECRET" not in caplog.text


def test_a_header_that_trickles_holds_a_thread_for_ever(web, monkeypatch):
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 1.0)
    web.files["/part"] = CONTENT
    asked = []

    def odd(handler):
        asked.append(handler.path)
        if len(asked) > 1:
            return False
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Odd: ")
            for _ in range(600):
                handler.wfile.write(b"x")
                time.sleep(0.1)
            asked.clear()  # somebody waited for its end
        return True

    web.odd = odd
    assert open_storage(f"{web.url}/part").read("part") == CONTENT
    assert len(asked) == 2


@pytest.mark.parametrize(
    "read", [lambda files: files.list_objects(), lambda files: files.read("rows.txt")]
)
def test_a_file_whose_end_nobody_tells_is_taken_for_whole_or_asked_for_again(web, read):
    def odd(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"a.bin\n")  # and the line breaks
        handler.close_connection = True
        return True

    web.odd = odd
    with pytest.raises(
        StorageError, match=r"/rows\.txt: the server does not say how long .*Content-Length"
    ):
        read(open_storage(f"{web.url}/rows.txt"))
    assert web.asked["GET"] == 1


@pytest.mark.parametrize("is_announced", [True, False])
def test_text_to_learn_from_is_not_read_to_its_end_as_a_list(web, monkeypatch, is_announced):
    monkeypatch.setattr(http, "_LONGEST_LIST_BYTES", 5_000)
    sent = 0

    def odd(handler):
        nonlocal sent
        handler.send_response(200)
        length = ("Content-Length", "100000000")
        handler.send_header(*length if is_announced else ("Transfer-Encoding", "chunked"))
        handler.end_headers()
        text = b"once upon a time\n" * 100
        piece = text if is_announced else b"%x\r\n%s\r\n" % (len(text), text)
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                sent += handler.wfile.write(piece)
        handler.close_connection = True
        return True

    web.odd = odd
    with pytest.raises(StorageError, match=r"should be a list of files, since it ends in \.txt"):
        open_storage(f"{web.url}/corpus.txt").list_objects()
    assert sent < 16_000_000


@pytest.mark.parametrize("name", ["rows.txt", "rows.parquet"])
def test_what_a_server_packs_is_taken_for_the_file(web, name):
    def odd(handler):
        packed = gzip.compress(b"a.bin\n")
        handler.send(200, packed, {"ETag": '"1"', "Content-Encoding": "gzip"})
        return True

    web.odd = odd
    files = open_storage(f"{web.url}/{name}")
    for read in (files.list_objects, lambda: files.open(name)):
        with pytest.raises(StorageError, match=rf"/{name}: .* gives the file encoded, as 'gzip'"):
            read()


@pytest.mark.parametrize(
    ("name", "encoding"), [("rows.bin", "identity"), ("rows.jsonl.gz", "x-gzip")]
)
def test_a_file_that_is_given_as_it_is_is_refused_for_what_is_said_of_it(web, name, encoding):
    def odd(handler):
        handler.send(200, CONTENT, {"ETag": '"1"', "Content-Encoding": encoding})
        return True

    web.odd = odd
    files = open_storage(f"{web.url}/{name}")
    assert files.list_objects()[0].size_bytes == len(CONTENT)
    assert files.read(name) == CONTENT
