"""Prefetching: the same batches in the same order, from a thread that works ahead, onto a device as well."""

import threading
import time
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import data
from fdezero.errors import DeviceError, DTypeError, RangeError
from fdezero.testing import assert_trees_equal

KEY = fd.random.key(0)


def test_any_iterable_is_prefetched() -> None:
    before = threading.active_count()
    for batches in ([1, 2, 3], (n for n in (1, 2, 3)), range(1, 4)):
        assert list(data.prefetch(batches, 2)) == [1, 2, 3]
    assert list(data.prefetch([])) == []
    assert threading.active_count() == before


def test_the_thread_works_ahead_but_not_further() -> None:
    before = threading.active_count()
    made = []

    def batches() -> Any:
        for number in range(20):
            made.append(number)
            yield number

    ahead = data.prefetch(batches(), 3)
    assert not made
    assert next(ahead) == 0
    deadline = time.monotonic() + 20
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    del ahead
    assert threading.active_count() == before


def test_an_error_comes_where_its_batch_is_asked_for() -> None:
    before = threading.active_count()
    def batches() -> Any:
        yield 1
        raise OSError("no such image")

    ahead = data.prefetch(batches(), 5)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="no such image"):
        next(ahead)
    assert threading.active_count() == before


def test_an_epoch_keeps_its_length_and_place() -> None:
    loader = data.DataLoader(np.arange(20), 3, key=KEY)
    ahead = data.prefetch(loader.epoch(4, 2), 2)
    assert (len(ahead), ahead.epoch, ahead.step) == (5, 4, 2)
    assert_trees_equal(list(ahead), list(loader.epoch(4, 2)), bits=True)


def test_what_cannot_be_prefetched() -> None:
    with pytest.raises(DTypeError, match=r"such as loader.epoch\(0\), got int 3"):
        data.prefetch(3)  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="n is 1 or more, got 0"):
        data.prefetch([1], 0)
    with pytest.raises(DTypeError, match="n is a whole number"):
        data.prefetch([1], 1.5)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="cuda"):
        data.prefetch([1], device="cuda")


def test_a_device_that_is_not_there_is_refused_at_once(strict_cupy: Any) -> None:
    with pytest.raises(DeviceError, match="no device 'gpu:7'"):
        data.prefetch([1], device="gpu:7")


def test_batches_come_to_the_device(gpu: Any) -> None:
    dataset = [(np.full((2, 3), i, np.float32), i) for i in range(10)]
    plain = data.DataLoader(dataset, 3, key=KEY)
    for loader in (
        data.DataLoader(dataset, 3, key=KEY, device="gpu", prefetch=2),
        data.DataLoader(dataset, 3, key=KEY, device="gpu", prefetch=1, workers=2),
        data.DataLoader(dataset, 3, key=KEY, device="gpu", workers=2),
    ):
        batches = list(loader.epoch(1))
        assert {fd.device_of(batch) for batch in batches} == {"gpu:0"}
        assert_trees_equal(fd.to_numpy(batches), list(plain.epoch(1)), bits=True)
    assert_trees_equal(fd.to_numpy(list(data.prefetch(plain.epoch(0), device="gpu"))), list(plain.epoch(0)), bits=True)


def test_copies_wait_for_the_reader_and_the_reader_for_copies(strict_cupy: Any) -> None:
    """Memory that was freed may still be read by work in the reader's queue, so a copy into it waits for that work."""
    from fdezero.devices.placement import GPU

    moves = GPU.moves_beside(0)
    assert moves is not None
    reader = strict_cupy.cuda.get_current_stream()
    reader.waited.clear()
    array, event = moves.move(lambda: fd.to_device(np.arange(3), "gpu"))
    stream = moves.stream  # type: ignore[attr-defined]  # of CUDA
    assert stream is not reader
    assert stream.waited == [("event of", reader)]
    assert event == ("event of", stream)
    moves.wait(event)
    assert reader.waited == [event]
    reader.waited.clear()
    assert fd.device_of(array) == "gpu:0"
    list(data.prefetch([np.arange(3)] * 4, 2, device="gpu"))
    assert len(reader.waited) == 4


def test_batches_come_to_the_second_gpu(strict_cupy: Any) -> None:
    dataset = [(np.full((2, 3), i, np.float32), i) for i in range(10)]
    for loader in (data.DataLoader(dataset, 3, key=KEY, device="gpu:1", prefetch=2), data.DataLoader(dataset, 3, key=KEY, device="gpu:1")):
        batches = list(loader.epoch(1))
        assert {fd.device_of(batch) for batch in batches} == {"gpu:1"}
        with strict_cupy.cuda.Device(1):
            assert_trees_equal(fd.to_numpy(batches), list(data.DataLoader(dataset, 3, key=KEY).epoch(1)), bits=True)


def test_transforms_run_where_the_examples_lie(gpu: Any) -> None:
    seen = []

    def noise(batch: Any, key: Any) -> Any:
        seen.append(fd.device_of((batch, key)))
        return batch[0] + fd.vmap(lambda key: fd.random.uniform(key, (3,)))(key), batch[1]

    dataset = (np.zeros((10, 3), np.float32), np.arange(10))
    here = list(data.DataLoader(dataset, 4, key=KEY, transform=noise).epoch(1))
    there = list(data.DataLoader(dataset, 4, key=KEY, transform=noise, device="gpu", classes=10).epoch(1))
    assert seen == ["cpu"] * 3 + ["gpu:0"] * 3
    assert_trees_equal(fd.to_numpy(there), here, bits=True)
    shards = [list(data.DataLoader(dataset, 4, key=KEY, transform=noise, device="gpu", shard=(rank, 2)).epoch(1)) for rank in range(2)]
    joined = [fd.tree.map(lambda a, b: np.concatenate([a, b]), *map(fd.to_numpy, parts)) for parts in zip(*shards, strict=True)]
    assert_trees_equal(joined, here, bits=True)


def test_examples_of_arrays_on_a_gpu_are_changed_one_by_one_there(gpu: Any) -> None:
    def noise(example: Any, key: Any) -> Any:
        x, t = example
        return x + fd.random.uniform(key, (3,)), t

    dataset = (np.zeros((10, 3), np.float32), np.arange(10))
    here = list(data.DataLoader(dataset, 4, key=KEY, transform_example=noise).epoch(1))
    for there in (
        data.DataLoader(fd.to_device(dataset, "gpu"), 4, key=KEY, transform_example=noise, workers=2),
        data.DataLoader(dataset, 4, key=KEY, transform_example=noise, device="gpu", classes=10, prefetch=1),
    ):
        batches = list(there.epoch(1))
        assert {fd.device_of(batch) for batch in batches} == {"gpu:0"}
        assert_trees_equal(fd.to_numpy(batches), here, bits=True)
    examples = [fd.to_device((np.full(2, i), i), "gpu") for i in range(4)]
    x, t = data.DataLoader(examples, 4, shuffle=False).batch(0, 0)
    assert (fd.device_of(x), fd.to_numpy(x)[:, 0].tolist(), t.tolist()) == ("gpu:0", [0, 1, 2, 3], [0, 1, 2, 3])
    examples[2] = fd.to_device((np.zeros(3), 2), "gpu")
    with pytest.raises(fd.errors.ShapeError, match=r"examples 0 and 2 cannot be stacked at 0: int64\[2\] and float64\[3\]"):
        data.DataLoader(examples, 4, shuffle=False).batch(0, 0)
