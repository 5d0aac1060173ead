"""Files with trained parameters come once into the cache folder, whole and checked, from a server on this machine."""

import hashlib
import http.server
import importlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fdezero import models
from fdezero.errors import DownloadError, FileError, MissingExtraError, RangeError
from fdezero.io.download import downloaded
from fdezero.models import pretrained

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    asked: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    """/whole has the content, /short loses the connection in its middle, anything else is not there."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]  # it is a Server
        if self.path not in ("/whole", "/short"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1000 if self.path == "/short" else None])
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("pooch")
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def in_cache() -> list[str]:
    folder = Path(os.environ["FDEZERO_CACHE"])
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_file_is_fetched_once(server: Server, sha256: str | None) -> None:
    for _ in range(2):
        place = downloaded(url(server, "/whole"), "w.bin", sha256=sha256)
        assert place == Path(os.environ["FDEZERO_CACHE"]) / "w.bin"
        assert place.read_bytes() == CONTENT
    assert server.asked == ["/whole"]
    assert in_cache() == ["w.bin"]


def test_a_file_of_another_checksum_is_fetched_anew(server: Server) -> None:
    place = downloaded(url(server, "/whole"), "w.bin", sha256=SHA256)
    place.write_bytes(b"damaged")
    assert downloaded(url(server, "/whole"), "w.bin", sha256=SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_file_that_is_not_the_known_one_is_refused(server: Server) -> None:
    with pytest.raises(FileError, match=r"whole is not the file that it was: its checksum differs from 0000"):
        downloaded(url(server, "/whole"), "w.bin", sha256="0" * 64)
    assert in_cache() == []


@pytest.mark.parametrize("sha256", [SHA256, None])
@pytest.mark.parametrize(("path", "said"), [("/short", "IncompleteRead"), ("/missing", "404 Client Error: Not Found")])
def test_a_file_that_does_not_come_whole_is_not_kept(server: Server, path: str, said: str, sha256: str | None) -> None:
    with pytest.raises(DownloadError, match=rf"{path} could not be downloaded to .*w\.bin: .*{said}.*You may also fetch the file"):
        downloaded(url(server, path), "w.bin", sha256=sha256)
    assert in_cache() == []


class Resumable(Handler):
    """/parts breaks off in the middle of each answer before the third, and sends the rest of a version that is asked for."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.headers.get("Range", ""))
        start = 0
        if self.path == "/parts" and self.headers.get("If-Range") == server.tag and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start > len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        for name, value in server.headers.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(server.content[start : None if len(server.asked) >= 3 else start + 100_000])
        self.close_connection = True


@pytest.fixture
def resumable(server: Server) -> Any:
    server.RequestHandlerClass = Resumable
    found: Any = server
    found.tag, found.headers, found.content = '"v1"', {"ETag": '"v1"'}, CONTENT
    return found


def fails(server: Any, sha256: str | None = SHA256) -> None:
    with pytest.raises(DownloadError, match="IncompleteRead"):
        downloaded(url(server, "/parts"), "w.bin", sha256=sha256)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_download_that_broke_off_goes_on_where_it_ended(resumable: Any, sha256: str | None) -> None:
    fails(resumable, sha256)
    assert in_cache() == [".w.bin.part", ".w.bin.part.tag"]
    fails(resumable, sha256)
    assert downloaded(url(resumable, "/parts"), "w.bin", sha256=sha256).read_bytes() == CONTENT
    assert resumable.asked == ["", "bytes=65536-", "bytes=131072-"]
    assert in_cache() == ["w.bin"]


def test_a_changed_file_begins_anew(resumable: Any) -> None:
    fails(resumable)
    resumable.tag, resumable.headers = '"v2"', {"ETag": '"v2"'}
    fails(resumable)
    resumable.content = bytes(len(CONTENT))  # another content under the same tag: the checksum finds it
    with pytest.raises(FileError, match="its checksum differs"):
        downloaded(url(resumable, "/parts"), "w.bin", sha256=SHA256)
    assert resumable.asked == ["", "bytes=65536-", "bytes=65536-"]
    assert in_cache() == []


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}])
def test_without_the_name_of_a_version_nothing_is_kept(resumable: Any, headers: dict[str, str]) -> None:
    resumable.headers = headers
    fails(resumable)
    assert in_cache() == []


def test_the_time_of_the_last_change_names_a_version(resumable: Any) -> None:
    resumable.tag = "Mon, 02 Nov 2026 10:00:00 GMT"
    resumable.headers = {"Last-Modified": resumable.tag}
    fails(resumable)
    fails(resumable)
    assert resumable.asked == ["", "bytes=65536-"]


def test_a_part_that_is_too_long_begins_anew(resumable: Any) -> None:
    fails(resumable)
    (Path(os.environ["FDEZERO_CACHE"]) / ".w.bin.part").write_bytes(bytes(len(CONTENT) + 5))
    assert downloaded(url(resumable, "/parts"), "w.bin", sha256=SHA256).read_bytes() == CONTENT
    assert resumable.asked == ["", f"bytes={len(CONTENT) + 5}-", ""]


def test_two_processes_do_not_write_into_one_part(resumable: Any) -> None:
    fcntl = pytest.importorskip("fcntl")
    fails(resumable)
    part = Path(os.environ["FDEZERO_CACHE"]) / ".w.bin.part"
    with open(part, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        resumable.asked += ["", ""]
        assert downloaded(url(resumable, "/parts"), "w.bin", sha256=SHA256).read_bytes() == CONTENT
        assert part.stat().st_size == 65536
    assert resumable.asked[-1] == ""


def test_without_a_network_the_address_and_the_place_are_named(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:{port}/x could not be downloaded to .*Is there a network\?") as caught:
        downloaded(f"http://127.0.0.1:{port}/x", "x.bin")
    assert isinstance(caught.value, OSError)
    assert "refused" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"could not be downloaded to .*file"):
        downloaded(url(server, "/whole"), "w.bin")


def test_without_pooch_only_a_file_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[pretrained\]'"):
        downloaded("http://127.0.0.1/x", "x.bin")
    (tmp_path / "x.bin").write_bytes(b"x")
    assert downloaded("http://127.0.0.1/x", "x.bin") == tmp_path / "x.bin"


def test_a_bar_is_shown_where_tqdm_is_installed(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    downloaded(url(server, "/whole"), "w.bin", sha256=None)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("256k" in shown.err) == bool(importlib.util.find_spec("tqdm"))
    assert "known_hash" not in shown.err


def test_a_name_and_a_form_choose_the_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrained.FILES["torchvision"], "vgg16", pretrained.Weights(url(server, "/whole") + "?a.safetensors", SHA256))
    monkeypatch.setitem(pretrained.FILES["dezero"], "vgg16", pretrained.Weights(url(server, "/missing.npz")))
    monkeypatch.setattr(Handler, "path", property(lambda self: self._path.partition("?")[0], lambda self, path: setattr(self, "_path", path)), raising=False)
    assert models.download("vgg16").name == "vgg16-torchvision.safetensors"
    with pytest.raises(DownloadError, match=r"missing\.npz could not be downloaded to .*vgg16-dezero\.npz"):
        models.download("vgg16", "dezero")


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(RangeError, match=r"dezero has no 'resnet18'. Did you mean 'resnet\d+'\? There are vgg16, resnet50, resnet101, resnet152"):
        models.download("resnet18", "dezero")
    with pytest.raises(RangeError, match="Did you mean 'vgg16'"):
        models.download("VGG16 ")
    with pytest.raises(RangeError, match="'torchvision' or 'dezero', got 'keras'"):
        models.download("vgg16", "keras")


def test_addresses_and_checksums_have_their_form() -> None:
    for form, files in pretrained.FILES.items():
        for name, weights in files.items():
            assert weights.url.startswith("https://")
            assert weights.url.endswith({"dezero": ".npz", "torchvision": ".safetensors"}[form])
            assert weights.sha256 is None or len(bytes.fromhex(weights.sha256)) == 32, name
