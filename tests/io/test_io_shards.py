"""Trees in several files: what is written, when the old files give way to the new ones, and indices of strangers."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import FileError
from fdezero.io import files, shards
from fdezero.testing import assert_trees_equal

from ..profiles import NIGHTLY
from .test_io_saving import interrupted, names, posix
from .test_safetensors import entry, stored

package = pytest.importorskip("safetensors.numpy")
TREE = {"layers": [{"W": np.full((10, 10), i, np.float32), "b": np.zeros(10, np.float32)} for i in range(4)], "step": 3, "none": np.empty((0, 2))}
OTHER = {"layers": [{"W": np.full((10, 10), -1.0), "b": np.ones(10)}], "step": 4}
FORMATS = ["safetensors", "npz"]


def shards_in(folder: Path, base: str = "model") -> list[str]:
    return [name for name in names(folder) if name.startswith(f"{base}-")]


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mmap", [False, True])
def test_a_tree_in_shards_comes_back_from_path_index_and_folder(tmp_path: Path, form: str, mmap: bool) -> None:
    path = tmp_path / f"model.{form}"
    fd.save(path, TREE, shard_size=900, compress=False)
    made = shards_in(tmp_path)
    assert len(made) == 2
    assert all(name.endswith(f"-0000{number}-of-00002.{form}") for number, name in enumerate(made, start=1))
    assert names(tmp_path) == [*made, f"model.{form}.index.json"]
    index = json.loads((tmp_path / f"model.{form}.index.json").read_text())
    assert list(index["weight_map"]) == fd.tree.paths(TREE)
    assert index["metadata"]["total_size"] == 4 * 440 + 8
    for name in made:
        held = [key for key, value in index["weight_map"].items() if value == name]
        assert list(fd.load(tmp_path / name)) == held
        assert sum(fd.load(tmp_path / name)[key].nbytes for key in held) <= 900
    for place in (path, f"{path}.index.json", tmp_path, str(path)):
        assert_trees_equal(fd.load(place, like=TREE, mmap=mmap), TREE, bits=True)
        assert list(fd.load(place, mmap=mmap)) == fd.tree.paths(TREE)
    with pytest.raises(FileError, match=r"missing: +layers/3/W"):
        fd.load(path, like=TREE, rename={"layers/3/W": "old"})


def test_a_tree_that_fits_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fd.save(path, TREE, shard_size="1MB")
    assert names(tmp_path) == ["model.safetensors"]
    fd.save(path, TREE, shard_size=500)  # the whole file gives way to its shards
    assert "model.safetensors" not in names(tmp_path)
    fd.save(path, OTHER, shard_size="1MB")  # and they to a whole file
    assert names(tmp_path) == ["model.safetensors"]
    assert_trees_equal(fd.load(tmp_path, like=OTHER), OTHER)
    fd.save(tmp_path / "empty.safetensors", {}, shard_size=1)
    assert fd.load(tmp_path / "empty.safetensors") == {}


def test_a_leaf_that_is_too_large_has_a_file_of_its_own(tmp_path: Path) -> None:
    fd.save(tmp_path / "model.npz", {"a": np.ones(2), "b": np.ones(1000), "c": np.ones(2), "d": 1.0}, shard_size=24)
    assert [list(fd.load(tmp_path / name)) for name in shards_in(tmp_path)] == [["a"], ["b"], ["c", "d"]]


@pytest.mark.parametrize(("size", "count"), [(5, 5), ("5", 5), ("5GB", 5 * 10**9), ("1.5 MiB", 3 << 19), ("2kb", 2000), ("1_000", 1000), ("3TB", 3 * 10**12)])
def test_sizes_are_numbers_with_units(size: Any, count: int) -> None:
    assert shards.bytes_of(size) == count


@pytest.mark.parametrize("size", [0, -1, "0", "GB", "5 apples", "", True, "1e9", [], "5i"])
def test_sizes_that_are_none_are_refused_before_anything_is_written(tmp_path: Path, size: Any) -> None:
    with pytest.raises(ValueError, match="shard_size is a number of bytes"):
        fd.save(tmp_path / "x.npz", TREE, shard_size=size)
    assert names(tmp_path) == []


def test_the_package_reads_shards_by_the_index(tmp_path: Path) -> None:
    fd.save(tmp_path / "model.safetensors", TREE, shard_size=500)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    for key, leaf in fd.io.flatten_to_dict(TREE).items():
        np.testing.assert_array_equal(package.load_file(tmp_path / index[key])[key], leaf)


def test_shards_of_others_are_read(tmp_path: Path) -> None:
    for number in (1, 2):
        package.save_file({f"w{number}": np.full(3, number)}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    index = {"metadata": {"total_size": 48}, "weight_map": {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {key: array.tolist() for key, array in fd.load(tmp_path).items()} == {"w1": [1, 1, 1], "w2": [2, 2, 2]}
    fd.save(tmp_path / "model.safetensors", OTHER, shard_size=500)  # and written over as a whole
    assert len(names(tmp_path)) == 3
    assert_trees_equal(fd.load(tmp_path, like=OTHER), OTHER)


def test_a_folder_must_hold_one_tree(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no .npz or .safetensors file, and no index"):
        fd.load(tmp_path)
    fd.save(tmp_path / "a.npz", TREE)
    assert_trees_equal(fd.load(tmp_path, like=TREE), TREE)
    fd.save(tmp_path / "b.safetensors", TREE, shard_size=500)
    with pytest.raises(FileError, match="holds a.npz, b.safetensors.index.json: name one of them"):
        fd.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fd.load(tmp_path / "c.npz")


# --- old and new -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_save_over_shards_leaves_the_new_ones_alone(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"model.{form}"
    (tmp_path / f"model-notes-00001-of-00003.{form}").write_text("of somebody else")
    (tmp_path / "other-00001-of-00003.npz").write_text("of somebody else")
    fd.save(path, TREE, shard_size=500)
    old = set(names(tmp_path))
    fd.save(path, OTHER, shard_size=500)
    assert set(names(tmp_path)) & old == {f"model.{form}.index.json", f"model-notes-00001-of-00003.{form}", "other-00001-of-00003.npz"}
    assert_trees_equal(fd.load(path, like=OTHER), OTHER)


@pytest.mark.parametrize("over", ["nothing", "shards", "a file"])
def test_an_interrupt_at_any_line_leaves_the_old_tree_or_the_new_one(tmp_path: Path, over: str) -> None:
    path = tmp_path / "model.npz"

    def prepare() -> None:
        for name in names(tmp_path):
            (tmp_path / name).unlink()
        if over != "nothing":
            fd.save(path, OTHER, shard_size=500 if over == "shards" else None)

    prepare()
    fd.save(path, TREE, shard_size=1500)  # which loads modules
    prepare()
    lines = interrupted(lambda: fd.save(path, TREE, shard_size=1500), -1)
    states = set()
    for at in range(1, lines + 1, 3 if NIGHTLY else 251):
        prepare()
        before = names(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            interrupted(lambda: fd.save(path, TREE, shard_size=1500), at)
        after = names(tmp_path)
        if after == before:  # nothing is left of the new files
            states.add("old")
            if over != "nothing":
                assert_trees_equal(fd.load(path, like=OTHER), OTHER)
        elif fd.load(path)["step"] == 3:
            states.add("new")
            assert_trees_equal(fd.load(path, like=TREE), TREE)
        else:  # the new index is there, but the older whole file has not gone yet
            states.add("both")
            assert over == "a file"
            assert_trees_equal(fd.load(path, like=OTHER), OTHER)
        fd.save(path, TREE, shard_size=1500)
        assert len(names(tmp_path)) == 3
    assert "old" in states


def test_a_full_disk_at_any_shard_leaves_the_old_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    fd.save(path, OTHER, shard_size=500)
    before = names(tmp_path)
    working = shards.write_whole
    for fails_at in range(5):
        calls = iter(range(10))

        def write(*args: Any, calls: Any = calls, fails_at: int = fails_at, **kwargs: Any) -> None:
            if next(calls) == fails_at:
                raise OSError(28, "No space left on device")
            working(*args, **kwargs)

        monkeypatch.setattr(shards, "write_whole", write)
        with pytest.raises(OSError, match="No space left"):
            fd.save(path, TREE, shard_size=500)
        assert names(tmp_path) == before
        assert_trees_equal(fd.load(path, like=OTHER), OTHER)


@posix
def test_a_limit_of_the_system_leaves_the_old_shards(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    fd.save(path, OTHER, shard_size=500)
    before = names(tmp_path)
    script = """if True:
        import resource, sys, numpy as np, fdezero as fd
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            fd.save(sys.argv[1], {"a": np.ones(100), "b": np.random.default_rng(0).standard_normal(100_000)}, shard_size=1000)
        except OSError as error:
            print(error.strerror)
    """
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "File too large\n"
    assert names(tmp_path) == before
    assert_trees_equal(fd.load(path, like=OTHER), OTHER)


KILLED = """if True:
    import os, random, signal, sys, time
    import numpy as np
    import fdezero as fd

    path, kills = sys.argv[1], int(sys.argv[2])
    rng, torn, left = random.Random(0), 0, 0
    save = lambda i: fd.save(path, {str(k): np.full(3000, i, float) for k in range(4)}, shard_size=30_000)
    save(-1)
    for number in range(kills):
        child = os.fork()
        if child == 0:
            for i in range(1000):
                save(i)
        time.sleep(rng.uniform(0, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left += len(os.listdir(os.path.dirname(path))) > 5
        torn += len({float(x) for array in fd.load(path).values() for x in array}) != 1
    save(0)
    print(torn, left, len(os.listdir(os.path.dirname(path))))
"""


@posix
def test_a_process_that_is_killed_tears_nothing_and_its_shards_are_swept(tmp_path: Path) -> None:
    kills = 500 if NIGHTLY else 25
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "model.npz"), str(kills)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    torn, left, rest = run.stdout.split()
    assert (torn, rest) == ("0", "5")
    assert int(left) > kills // 10, "the kills came too late to leave anything"


def test_shards_are_swept_if_nobody_saves_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, here = tmp_path / "model.npz", files.this_system()

    def shard(system: str, age: float = 0, stem: str = "model") -> Path:
        made = tmp_path / f"{stem}-{system}{os.urandom(2).hex()}-00001-of-00003.npz"
        made.write_bytes(b"half")
        os.utime(made, (time.time() - age,) * 2)
        return made

    dead, old, away, other = shard(here), shard("00000000", 2 * files.DAY), shard("00000000"), shard(here, stem="mode")
    by_hand = tmp_path / "model-00001-of-00003.npz"
    by_hand.write_bytes(b"of somebody else")
    fd.save(path, TREE, shard_size=1500)
    assert [place.exists() for place in (dead, old, away, other, by_hand)] == [not files.fcntl, False, True, True, True]
    if files.fcntl:
        living = shard(here)
        folder = os.open(tmp_path, os.O_RDONLY)
        files.fcntl.flock(folder, files.fcntl.LOCK_SH)  # as a process that saves shards there
        fd.save(path, OTHER, shard_size=500)
        assert living.exists()
        os.close(folder)
    monkeypatch.setattr(files, "fcntl", None)
    late = shard(here)
    fd.save(path, TREE, shard_size=1500)
    assert late.exists()
    assert_trees_equal(fd.load(path, like=TREE), TREE)


def test_threads_that_save_and_load_shards_at_once_do_not_meet(tmp_path: Path) -> None:
    path, failed = tmp_path / "model.npz", list[BaseException]()
    fd.save(path, {str(k): np.zeros(300) for k in range(4)}, shard_size=3000)

    def work(number: int) -> None:
        try:
            for i in range(12):
                if number:
                    fd.save(path, {str(k): np.full(300, number * 100 + i, float) for k in range(4)}, shard_size=3000)
                assert len({float(x) for array in fd.load(path).values() for x in array}) == 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    fd.save(path, TREE, shard_size=1500)
    assert len(names(tmp_path)) == 3


@posix
def test_shards_have_the_permissions_of_what_they_replace(tmp_path: Path) -> None:
    path, before = tmp_path / "model.npz", os.umask(0o022)
    try:
        fd.save(path, OTHER)
        path.chmod(0o600)
        for tree in (TREE, OTHER):  # over the file, then over the index
            fd.save(path, tree, shard_size=500)
            assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)} == {0o600}
        fd.save(tmp_path / "new.npz", TREE, shard_size=500)
        assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in shards_in(tmp_path, "new")} == {0o644}
    finally:
        os.umask(before)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fd.save(tmp_path / "missing" / "x.npz", TREE, shard_size=500)


# --- indices of strangers --------------------------------------------------------------------------------------------

GOOD = stored({"x": entry("F32", [1], 0, 4)}, bytes(4))


def index_of(keys: Any, **more: Any) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": keys, **more}).encode()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "above the folder": (lambda: index_of({"x": "../secret.safetensors"}), "is not the name of"),
    "an absolute place": (lambda: index_of({"x": "/secret.safetensors"}), "is not the name of"),
    "a folder within": (lambda: index_of({"x": "a/x.safetensors"}), "is not the name of"),
    "a place of Windows": (lambda: index_of({"x": "..\\x.safetensors"}), "is not the name of"),
    "a drive": (lambda: index_of({"x": "C:x.safetensors"}), "is not the name of"),
    "a NUL": (lambda: index_of({"x": "x\0.safetensors"}), "is not the name of"),
    "no name": (lambda: index_of({"x": ""}), "is not the name of"),
    "dots": (lambda: index_of({"x": ".."}), "is not the name of"),
    "a pickle": (lambda: index_of({"x": "pytorch_model-00001-of-00002.bin"}), "is not the name of"),
    "itself": (lambda: index_of({"x": "model.safetensors.index.json"}), "is not the name of"),
    "a folder of the name": (lambda: index_of({"x": "folder.safetensors"}), "is a folder or a device"),
    "a shard that is missing": (lambda: index_of({"x": "gone.safetensors"}), "names gone.safetensors, which is not beside it"),
    "a key that is missing": (lambda: index_of({"x": "good.safetensors", "y": "good.safetensors"}), "lacks 'y', which the index places there"),
    "a key that is not said": (lambda: index_of({"x": "good.safetensors", "y": "twin.safetensors"}), "twin.safetensors holds 'x', which the index"),
    "a damaged shard": (lambda: index_of({"x": "bad.safetensors"}), "bad.safetensors is no safetensors file"),
    "no json": (lambda: b"weight_map", "is no index of shards"),
    "empty": (lambda: b"", "is no index of shards"),
    "a list": (lambda: b"[]", "is no index of shards"),
    "no map": (lambda: b"{}", "is no index of shards"),
    "a map of lists": (lambda: index_of({"x": ["good.safetensors"]}), "does not map keys to names"),
    "a map that is a list": (lambda: index_of(["x"]), "does not map keys to names"),
    "a key twice": (lambda: b'{"weight_map": {"x": "good.safetensors", "x": "bad.safetensors"}}', "a name twice"),
    "deep": (lambda: b"[" * 100_000, "is no index of shards"),
    "half a pair": (lambda: index_of({"x": "\ud800.safetensors"}), "no index|not beside|utf-8"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_indices_are_refused_within_bounded_memory(tmp_path: Path, kind: str) -> None:
    make, said = HOSTILE[kind]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.safetensors").write_bytes(GOOD)
    for name, data in {"good": GOOD, "twin": GOOD, "bad": GOOD[:-1]}.items():
        (folder / f"{name}.safetensors").write_bytes(data)
    (folder / "folder.safetensors").mkdir()
    path = folder / "model.safetensors.index.json"
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=said) as caught:
            fd.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(folder) in str(caught.value)
    assert peak < 4 << 20


def test_a_huge_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LONGEST_INDEX", 1000)
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(index_of({"x": "good.safetensors"}) + b" " * 2000)
    with pytest.raises(FileError, match="bytes: 1000 are allowed"):
        fd.load(path)


def test_a_link_of_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(GOOD)  # as the cache of the Hugging Face hub has it
    (tmp_path / "folder").mkdir()
    if not hasattr(os, "symlink"):
        return
    (tmp_path / "folder" / "a.safetensors").symlink_to("../blob")
    (tmp_path / "folder" / "model.safetensors.index.json").write_bytes(index_of({"x": "a.safetensors"}))
    assert fd.load(tmp_path / "folder" / "model.safetensors.index.json")["x"].tolist() == [0]
