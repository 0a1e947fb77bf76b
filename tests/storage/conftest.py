"""Stores of every kind: a disk, S3 (Ceph), and the emulators of Google's and Azure's.

`gcp-storage-emulator` comes with the development dependencies. Azurite is npm's: `npm install
--prefix .npm azurite` (as `.ci/run` does), or on PATH; without it its tests are skipped by name.
"""

import os
import shutil
import socket
import subprocess
import time
import uuid
from functools import wraps
from http import HTTPStatus
from pathlib import Path

import fsspec
import pytest

from distill.storage.open import open_storage
from distill.storage.remote import forget_filesystems
from tests.ports import free_port

AZURITE = Path(__file__).parents[2] / ".npm" / "node_modules" / ".bin" / "azurite-blob"
AZURITE_KEY = (  # Azurite's own, the same for everybody
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
KINDS = [
    pytest.param(kind, marks=pytest.mark.s3) if kind == "s3" else kind
    for kind in ("local", "s3", "gs", "abfs")
]


@pytest.fixture(scope="session")
def gs():
    """`gs://BUCKET` on an emulator; the environment of the process leads there from now on."""
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="distill")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        know_generations(patch)
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        forget_filesystems()
        yield "gs://distill"
    forget_filesystems()
    server.stop()


@pytest.fixture(scope="session")
def abfs():
    """`abfs://CONTAINER` on Azurite; the environment of the process leads there from now on."""
    program = shutil.which("azurite-blob") or shutil.which(AZURITE)
    if program is None:
        pytest.skip("needs Azurite: npm install --prefix .npm azurite")
    port = free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    server = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    )
    account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURITE_KEY}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            f"{account};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;",
        )
        wait_for_port(port)
        forget_filesystems()
        fsspec.filesystem("abfs", skip_instance_cache=True).mkdir("distill")
        yield "abfs://distill"
    forget_filesystems()
    server.terminate()
    server.wait()


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    """An empty folder of each kind."""
    if request.param == "local":
        return open_storage(str(tmp_path / "store"))
    return open_storage(
        request.getfixturevalue("s3_root") if request.param == "s3" else below(request)
    )


def know_generations(patch):
    """Give the emulator what it leaves out: `ifGenerationMatch=0` and reading by generation. It
    serves one request at a time, so that nothing comes between a condition and its write."""
    from gcp_storage_emulator import server
    from gcp_storage_emulator.handlers import objects

    upload, download = objects._multipart_upload, objects.download

    def stored(request, storage, key):
        try:
            return storage.get_file_obj(request.params["bucket_name"], key)["generation"]
        except objects.NotFound:
            return "0"

    @wraps(upload)
    def upload_if(request, response, storage):
        generation = stored(request, storage, request.data["meta"]["name"])
        if generation not in request.query.get("ifGenerationMatch", [generation]):
            response.status = HTTPStatus.PRECONDITION_FAILED
            return
        upload(request, response, storage)

    def download_if(request, response, storage, *rest, **options):
        generation = stored(request, storage, request.params["object_id"])
        if generation not in request.query.get("generation", [generation]):
            response.status = HTTPStatus.NOT_FOUND
            return
        download(request, response, storage, *rest, **options)

    patch.setattr(objects, "_multipart_upload", upload_if)
    for _, by_method in server.HANDLERS:
        for method, handler in by_method.items():
            if handler is download:
                patch.setitem(by_method, method, download_if)


def below(request):
    return f"{request.getfixturevalue(request.param)}/{uuid.uuid4().hex[:12]}"


def wait_for_port(port, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(
        f"nothing listens on port {port} after {seconds} s; PATH is {os.environ['PATH']}"
    )
