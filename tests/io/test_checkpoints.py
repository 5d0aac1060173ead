"""`io.Checkpoints`: what stays, what comes back, and what happens when a file or the disk fails."""

import datetime
import json
import math
import os
import pickle
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import CheckpointError, CheckpointWarning, FileError, RangeError
from fdezero.io import Checkpoints
from fdezero.io import checkpoints as io_checkpoints
from fdezero.training import State

TREE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"n": 3, "x": 1.5, "s": np.int64(7)}, "e": np.zeros((0, 2))}


def tree(step: int) -> Any:
    return {**TREE, "a": TREE["a"] + step}


def filled(folder: Path, steps: Any = (1, 2, 3), **options: Any) -> Checkpoints:
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(tree(step), step)
    checkpoints.close()
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def steps(checkpoints: Checkpoints) -> list[int]:
    return [found.step for found in checkpoints.all()]


def save_and_wait(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(tree(step), step)
    checkpoints.wait()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(tree(int(path.stem.rpartition("-")[2]))["a"].tobytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("in_flight", [0, 1, 3])
def test_what_is_saved_comes_back_and_the_last_ones_stay(tmp_path: Path, suffix: str, in_flight: int) -> None:
    checkpoints = filled(tmp_path / "made" / "here", range(7), keep=2, suffix=suffix, in_flight=in_flight)
    assert names(checkpoints.folder) == ["checkpoints.json", f"step-5{suffix}", f"step-6{suffix}"]
    for found, step in ((checkpoints.restore(like=tree(0)), 6), (Checkpoints(checkpoints.folder).restore(like=tree(0), step=5), 5)):
        fd.testing.assert_trees_equal(found, tree(step))
        assert [type(leaf) for leaf in fd.tree.leaves(found)] == [type(leaf) for leaf in fd.tree.leaves(TREE)]
    assert sorted(checkpoints.restore()) == fd.tree.paths(TREE)
    assert checkpoints.latest() == checkpoints.all()[-1]


def test_without_a_bound_all_stay(tmp_path: Path) -> None:
    assert steps(filled(tmp_path, range(6), keep=None)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("mode", "wanted"), [("max", [2, 5, 6]), ("min", [4, 5, 6])])
def test_the_best_one_stays_the_first_of_equal_ones_and_none_without_a_number(tmp_path: Path, mode: str, wanted: list[int]) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, best="val/score", mode=mode)
    scores = [math.nan, 0.5, 0.9, 0.9, -0.5, np.float32(-0.5), None]
    for step, score in enumerate(scores):
        checkpoints.save(tree(step), step, None if score is None else {"val": {"score": score}})
    assert steps(checkpoints) == wanted
    best = checkpoints.best()
    assert best is not None
    assert (best.step, best.metrics) == (wanted[0], {"val/score": scores[wanted[0]]})
    fd.testing.assert_trees_equal(checkpoints.restore(like=tree(0), step="best"), tree(wanted[0]))


def test_nothing_is_best_before_a_checkpoint_has_the_metric(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, best="accuracy")
    assert checkpoints.best() is None
    with pytest.raises(FileError, match="no checkpoint of step best in .*, which holds checkpoints of steps 1, 2, 3"):
        checkpoints.restore(step="best")
    with pytest.raises(RangeError, match="by which metric"):
        Checkpoints(tmp_path).best()


def test_a_checkpoint_is_due_when_a_multiple_of_every_has_been_passed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=None, every=10)
    saved = [step for step in (0, 4, 9, 11, 19, 20, 37, 38, 40) if checkpoints.save(tree(step), step)]
    assert saved == steps(checkpoints) == [11, 20, 37, 40]
    assert checkpoints.save(tree(41), 41, force=True)
    again = Checkpoints(tmp_path, every=10)
    again.restore(step=37)
    assert [step for step in (38, 39, 40, 41) if again.due(step)] == [40, 41]


def test_a_run_that_begins_again_is_saved_before_it_is_as_far(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every=10)
    assert [step for step in (5, 10, 35, 12, 13, 20, 25, 30) if checkpoints.save(tree(step), step)] == [10, 35, 12, 20, 30]


def test_every_may_be_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fdezero.io.checkpoints.time", SimpleNamespace(monotonic=lambda: now[0], strftime=lambda *_: "", gmtime=lambda: None))
    checkpoints = Checkpoints(tmp_path, every=datetime.timedelta(minutes=1))
    saved = []
    for step, now[0] in enumerate([100.0, 159.0, 160.0, 161.0, 219.0, 220.0]):
        saved += [step] if checkpoints.save(tree(step), step) else []
    assert saved == [2, 5]


def test_the_list_is_readable_and_says_when_by_what_and_how_good(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    metrics = {"loss": np.float32(0.5), "bad": math.inf, "odd": math.nan, "hits": np.array([1, 2]), "mean": SimpleNamespace(result=lambda: 0.25), "n": 3}
    metrics["narrow"] = np.array(0.5, ml_dtypes.bfloat16)
    checkpoints.save(TREE, np.int64(12), metrics)
    checkpoints.close()
    text = (tmp_path / "checkpoints.json").read_text()
    assert len(text.splitlines()) == 3
    (line,) = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["checkpoints"]
    assert line["metrics"] == {"loss": 0.5, "bad": "inf", "odd": "nan", "hits": [1, 2], "mean": 0.25, "n": 3, "narrow": 0.5}
    assert [type(line["metrics"][name]) for name in ("n", "loss", "narrow")] == [int, float, float]
    assert (line["step"], line["file"], line["fdezero"]) == (12, "step-12.npz", fd.__version__)
    assert line["bytes"] == (tmp_path / "step-12.npz").stat().st_size
    assert abs(datetime.datetime.fromisoformat(line["time"]) - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=5)
    (found,) = Checkpoints(tmp_path).all()
    assert repr(found).startswith("Checkpoint(step=12, metrics={'loss': 0.5,")
    assert line["run"] not in repr(found)
    assert (found.metrics["bad"], math.isnan(found.metrics["odd"]), found.metrics["hits"]) == (math.inf, True, [1, 2])


def test_a_run_goes_on_from_its_state(tmp_path: Path) -> None:
    opt = optim.adam(0.1)
    state = State.init(nn.MLP.init(fd.random.key(0), (3, 4, 2)), opt, fd.random.key(1)).replace(step=5)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, state.step)
    fresh = State.init(nn.MLP.init(fd.random.key(7), (3, 4, 2)), opt, fd.random.key(8))
    fd.testing.assert_trees_equal(Checkpoints(tmp_path).restore(like=fresh), state)


def test_a_damaged_newest_falls_back_to_the_one_before_with_a_warning(tmp_path: Path) -> None:
    filled(tmp_path)
    damage(tmp_path / "step-3.npz")
    with pytest.warns(CheckpointWarning, match=r"step-3\.npz is damaged: its checksum is [0-9a-f]{8}, .* Step 2 is restored in its place") as said:
        found = Checkpoints(tmp_path).restore(like=tree(0))
    fd.testing.assert_trees_equal(found, tree(2))
    assert said[0].filename == __file__
    with open(tmp_path / "step-2.npz", "ab") as file:
        file.truncate(100)
    with pytest.warns(CheckpointWarning) as said:
        fd.testing.assert_trees_equal(Checkpoints(tmp_path).restore(like=tree(0)), tree(1))
    assert [str(warning.message).split(": ")[0].rpartition("/")[2] for warning in said] == ["step-3.npz is damaged", "step-2.npz is damaged"]
    assert "it has 100 bytes" in str(said[1].message)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("flat", [False, True])
def test_whatever_bit_is_flipped_you_get_what_was_written_or_the_one_before(tmp_path: Path, suffix: str, flat: bool) -> None:
    filled(tmp_path, (1, 2), suffix=suffix)
    path = tmp_path / f"step-2{suffix}"
    content = path.read_bytes()
    wanted = {2: tree(2), 1: tree(1)}
    found = []
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            got = Checkpoints(tmp_path).restore(like=None if flat else tree(0))
        found.append(1 if said else 2)
        mine = fd.tree.flatten_to_dict(wanted[found[-1]])
        fd.testing.assert_trees_equal(got if flat else fd.tree.flatten_to_dict(got), {key: np.asarray(leaf) for key, leaf in mine.items()} if flat else mine)
    assert found.count(1) > len(found) // 2
    assert (suffix == ".npz" and not flat) == (2 in found)  # a time in an archive is nobody's loss


def test_if_all_are_damaged_the_error_names_each(tmp_path: Path) -> None:
    filled(tmp_path, (1, 2))
    for name in ("step-1.npz", "step-2.npz"):
        damage(tmp_path / name)
    with pytest.raises(FileError, match=r"(?s)no checkpoint in .* can be restored:\n  step-2\.npz: its checksum.*\n  step-1\.npz: its checksum"):
        Checkpoints(tmp_path).restore(like=tree(0))
    with pytest.raises(FileError, match=r"can be restored:\n  step-1\.npz: its checksum"):
        Checkpoints(tmp_path).restore(like=tree(0), step=1)


def test_a_checkpoint_of_another_model_is_an_error_with_file_and_paths(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(FileError) as error:
        Checkpoints(tmp_path).restore(like={**TREE, "a": np.zeros((3, 3), np.float32), "c": 0})
    for part in (str(tmp_path / "step-3.npz"), "missing:    c (int 0)", "different:  a is float32[3,3] in the tree, float32[2,3] in the file"):
        assert part in str(error.value)
    found = Checkpoints(tmp_path).restore(like={**TREE, "c": 0}, strict=False)
    assert found["c"] == 0
    np.testing.assert_array_equal(Checkpoints(tmp_path).restore(like={"d": TREE["a"]}, strict=False, rename={"a": "d"})["d"], tree(3)["a"])


def test_a_list_that_is_lost_or_damaged_is_made_again_from_the_files(tmp_path: Path) -> None:
    filled(tmp_path)
    for step in (1, 2, 3):
        os.utime(tmp_path / f"step-{step}.npz", (1000 + step, 1000 + step))
    (tmp_path / "checkpoints.json").unlink()
    fd.testing.assert_trees_equal(Checkpoints(tmp_path).restore(like=tree(0)), tree(3))
    (tmp_path / "checkpoints.json").write_text('{"checkpoints": [{"step"')
    checkpoints = Checkpoints(tmp_path, keep=2)
    with pytest.warns(CheckpointWarning, match=r"checkpoints\.json is damaged .*found by their names"):
        checkpoints.restore(like=tree(0))
    damage(tmp_path / "step-3.npz")  # without the list, the format itself notices
    with pytest.warns(CheckpointWarning, match=r"(checkpoints\.json|step-3\.npz) is damaged"):
        fd.testing.assert_trees_equal(checkpoints.restore(like=tree(0)), tree(2))
    with pytest.warns(CheckpointWarning, match=r"checkpoints\.json is damaged"):
        save_and_wait(checkpoints, 4)  # the thread warns also
    assert steps(checkpoints) == [3, 4]
    assert names(tmp_path) == ["checkpoints.json", "step-3.npz", "step-4.npz"]


@pytest.mark.parametrize("text", ["[" * 100_000, None])
def test_a_list_that_no_reader_understands_counts_as_damaged(tmp_path: Path, text: str | None) -> None:
    filled(tmp_path, (1,))
    (tmp_path / "checkpoints.json").unlink()
    (tmp_path / "checkpoints.json").mkdir() if text is None else (tmp_path / "checkpoints.json").write_text(text)
    with pytest.warns(CheckpointWarning, match=r"checkpoints\.json is damaged .*found by their names"):
        fd.testing.assert_trees_equal(Checkpoints(tmp_path).restore(like=tree(0)), tree(1))


def test_a_line_that_was_copied_in_the_list_counts_once(tmp_path: Path) -> None:
    filled(tmp_path, (1, 2))
    place = tmp_path / "checkpoints.json"
    lines = json.loads(place.read_text())["checkpoints"]
    place.write_text(json.dumps({"checkpoints": [{**lines[0], "metrics": {"loss": 3}}, *lines]}))
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert [(found.step, found.metrics) for found in checkpoints.all()] == [(1, lines[0]["metrics"]), (2, lines[1]["metrics"])]


def test_a_list_from_a_stranger_reaches_no_file_outside(tmp_path: Path) -> None:
    folder, outside = tmp_path / "run", tmp_path / "step-1.npz"
    filled(folder, (2,))
    outside.write_text("of somebody else")
    (folder / "checkpoints.json").write_text(json.dumps({"checkpoints": [{"step": 1, "file": "../step-1.npz"}, {"step": 9, "file": "notes.txt"}]}))
    (folder / "notes.txt").write_text("mine")
    checkpoints = Checkpoints(folder, keep=1)
    assert steps(checkpoints) == [2]
    checkpoints.restore()
    checkpoints.save(tree(3), 3)
    assert steps(checkpoints) == [3]
    assert (outside.exists(), names(folder)) == (True, ["checkpoints.json", "notes.txt", "step-3.npz"])


def test_a_step_saved_again_replaces_its_file_and_counts_as_the_last(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    again = Checkpoints(tmp_path, suffix=".safetensors")
    again.restore(step=1, like=tree(0))  # from here on another way
    again.save(tree(20), 2)
    assert steps(again) == [1, 3, 2]
    assert names(tmp_path) == ["checkpoints.json", "step-1.npz", "step-2.safetensors", "step-3.npz"]
    fd.testing.assert_trees_equal(checkpoints.restore(like=tree(0)), tree(20))


def test_a_step_saved_again_without_metrics_keeps_those_it_had(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, best="accuracy")
    for metrics in ({"accuracy": 0.5}, None, {"accuracy": 0.25}):
        checkpoints.save(tree(1), 1, metrics)
        assert [found.metrics["accuracy"] for found in checkpoints.all()] == [0.25 if metrics == {"accuracy": 0.25} else 0.5]


def test_a_new_run_does_not_replace_an_earlier_one_by_mistake(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(FileError, match=r"holds checkpoints of steps 1, 2, 3 of an earlier run, .*restore\(like=state\).*another folder"):
        Checkpoints(tmp_path, every=1000).save(tree(0), 0)
    assert len(names(tmp_path)) == 4


def test_two_runs_in_one_folder_remove_their_own_alone(tmp_path: Path) -> None:
    first, second = Checkpoints(tmp_path, keep=2), Checkpoints(tmp_path, keep=1)
    second._begin()  # both begin in an empty folder
    for step in range(4):
        first.save(tree(step), step)
        second.save(tree(step), 100 + step)
    first.close()
    second.close()
    assert sorted(steps(first)) == [2, 3, 103]
    third = Checkpoints(tmp_path, keep=1)
    third.restore(like=tree(0))
    third.save(tree(4), 4)
    assert steps(third) == [4]


def test_a_checkpoint_removed_while_it_is_read_leads_to_another_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    working, gone = io_checkpoints.load, []

    def removed_meanwhile(path: Path, **options: Any) -> Any:
        if not gone:
            gone.append(path.name)
            path.unlink()
        return working(path, **options)

    monkeypatch.setattr(io_checkpoints, "load", removed_meanwhile)
    fd.testing.assert_trees_equal(Checkpoints(tmp_path).restore(like=tree(0)), tree(2))
    assert gone == ["step-3.npz"]


def test_the_folder_stays_when_the_program_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("here")
    assert checkpoints.folder == Path("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    checkpoints.save(TREE, 1)
    checkpoints.close()
    assert names(tmp_path / "here") == ["checkpoints.json", "step-1.npz"]
    assert [found.path for found in checkpoints.all()] == [tmp_path / "here" / "step-1.npz"]


def test_checkpoints_do_not_go_to_another_process() -> None:
    with pytest.raises(TypeError, match="belong to one process"):
        pickle.dumps(Checkpoints("x"))
    assert repr(Checkpoints("/x", every=5, best="accuracy")) == "Checkpoints('/x', keep=3, every=5, best='accuracy')"


def test_an_error_of_the_thread_names_the_file_at_the_next_call_and_older_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = filled(tmp_path, (1, 2), every=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        checkpoints.save(tree(3), 3)
        checkpoints._tasks[-1].wait()
    with pytest.raises(CheckpointError, match=r"step-3\.npz could not be written: .*No space left.* holds checkpoints of steps 1, 2\.") as error:
        checkpoints.save(tree(3), 3)  # which would not even be due
    assert isinstance(error.value, OSError)
    assert names(tmp_path) == ["checkpoints.json", "step-1.npz", "step-2.npz"]
    checkpoints.save(tree(4), 4)  # the disk has room again
    fd.testing.assert_trees_equal(checkpoints.restore(like=tree(0)), tree(4))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdezero.io import files

    checkpoints = filled(tmp_path, (1,))
    monkeypatch.setattr(files, "_create", lambda temporary, place, old: os.open("/dev/full", os.O_RDWR))
    checkpoints.save({"a": np.zeros(300_000)}, 2)
    with pytest.raises(CheckpointError, match=r"step-2\.npz could not be written: .*No space left on device.* holds the checkpoint of step 1\."):
        checkpoints.wait()
    assert names(tmp_path) == ["checkpoints.json", "step-1.npz"]


def test_where_no_thread_can_start_the_call_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(tree(1), 1)
    assert (tmp_path / "step-1.npz").exists()
    fd.testing.assert_trees_equal(checkpoints.restore(like=tree(0)), tree(1))


def test_an_error_of_the_thread_does_not_hide_that_of_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no disk")))
    with pytest.raises(ZeroDivisionError) as error, Checkpoints(tmp_path) as checkpoints:
        _ = checkpoints.save(TREE, 1) / 0
    assert "step-1.npz could not be written: no disk" in error.value.__notes__[0]
    with pytest.raises(CheckpointError, match="no disk"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(TREE, 1)
