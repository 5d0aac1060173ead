"""Convolution in native code: how blocks are cut, memory is given, and threads share the work of `convolution.cpp`."""

import ctypes
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

from .. import native
from ..native.workers import run_all
from ..values import C_TYPES
from .patches import Scratch
from .window_jobs import Job, edges_of, encoded, job_of, products_of, turned

CACHE = 3 << 17  # bytes of images that a block reads again and again: with the kernels that pass by, they fit the second-level cache
PIXELS = 256  # of a block in the gradient of a kernel
CHUNK = 288  # products that a tile adds before the next one
PANEL = 64  # bytes of the channels of a tile
MOSTLY, EDGES = 0.97, 64  # of products inside the images; above it, or for longer axes, edges are not worth their own tiles
CLASS = 96  # bytes of a class of pixels
SHARE = 1 << 22  # products that a thread is worth
LARGE = 512  # entries of kernels for each pixel of the results, above which the gradient of a kernel is an ordinary call
TILES = 1 << 20  # bytes of transformed tiles of images and results that are at work together
TRANSFORMED = 512  # pixels of the result from which Winograd's form pays
FEWEST = 8  # channels of a group, and filters: of fewer, a panel would be mostly empty

Run = Callable[..., None]
Make = Callable[[], Run]


def conv(inputs: Any, out: Any, params: dict[str, Any], how: native.How) -> Make | None:
    """Native code of the operation `conv`; None for arrays that it does not serve."""
    job = _job("y", inputs, out, params)
    return None if job is None else _convolution([job], out.dtype, how)


def conv_input(inputs: Any, out: Any, params: dict[str, Any], how: native.How) -> Make | None:
    """Native code of the operation `conv_input`."""
    job = _job("x", inputs, out, params)
    if job is None:
        return None
    make = _convolution(list(turned(job)), out.dtype, how)

    def make_turned() -> Run:
        run = make()
        return lambda x, w, y: run(x, y, w)

    return make_turned


def conv_kernel(inputs: Any, out: Any, params: dict[str, Any], how: native.How) -> Make | None:
    """Native code of the operation `conv_kernel`."""
    job = _job("w", inputs, out, params)
    if job is None or _is_large(job):
        return None
    return _gradient(job, out.dtype, how.threads)


def _job(form: str, inputs: Any, out: Any, params: dict[str, Any]) -> Job | None:
    """The job of an operation, if the processor is worth it."""
    job = job_of(form, inputs, out, params, FEWEST)
    return job if job is not None and _library(C_TYPES[out.dtype.name])["is_quick"]() else None


def _convolution(jobs: list[Job], dtype: Any, how: native.How) -> Make:
    """A function that runs the jobs: `run(y, x, w)`."""
    threads = how.threads
    if how.winograd and len(jobs) == 1 and _suits_winograd(jobs[0], dtype.itemsize):
        return _winograd(jobs[0], dtype, threads)
    itemsize, packed, own, items = dtype.itemsize, 0, 0, 0
    panel = PANEL // itemsize
    for job in jobs:
        depth = math.prod(job["window"]) * job["channels"]
        job["chunk"] = _even(max(depth, 1), CHUNK)
        inside, classes = edges_of(job)
        job["by_edge"] = int(inside < MOSTLY and max(job["out"]) <= EDGES)
        classes = classes if job["by_edge"] else 1
        job["in_place"] = int(job["x_channel"] == 1 and (inside == 1 or job["by_edge"]))
        job["block"], nbytes = _block(job, itemsize, 1 << 30)
        job["packed_at"] = packed
        panels, taps, pixels = -(-job["filters"] // panel), math.prod(job["window"]), _pixels(job)
        packed += job["stacks"] * job["groups"] * panels * panel * depth
        job["segments"] = classes * (taps + depth // job["chunk"] + 1)
        bytes_of_lists = 24 * job["segments"] + 16 * pixels + CLASS * classes
        own = max(own, bytes_of_lists // itemsize + (0 if job["in_place"] else nbytes // itemsize) + 2 * panel)
        cut = zip((job["examples"], *job["out"]), job["block"], strict=False)
        blocks = job["stacks"] * job["groups"] * math.prod([-(-n // size) for n, size in cut])
        job["parts"] = panels if threads > 1 and blocks < 4 * threads else 1
        items += blocks * job["parts"]
    packed, own = _up(packed, panel), _up(own, panel)
    shares = _shares(threads, items, sum(map(products_of, jobs)))
    memory = packed + own * len(shares) + panel

    def make() -> Run:
        table = encoded(jobs)  # the functions below keep it alive
        pack, work = _function("pack", dtype, 2), _function("convolve", dtype, 3, 3)

        def run(y: Any, x: Any, w: Any) -> None:
            scratch, given = Scratch(), (table.ctypes.data, len(table))
            try:
                room = scratch(y, memory, dtype)
                pack(*given, w, room)
                run_all(work, [(*given, x, y, room, packed + own * i, *share) for i, share in enumerate(shares)])
            finally:
                scratch.free()

        return run

    return make


def _suits_winograd(job: Job, itemsize: int) -> bool:
    """Whether a job is a 3x3 convolution of images without gaps, with enough pixels to repay the transformation of the kernels."""
    is_plain = job["stacks"] == job["groups"] == job["size"][0] == job["x_channel"] == 1 and job["before"][0] == 0
    is_plain = is_plain and [*job["window"], *job["stride"], *job["dilation"]] == [1, 3, 3, 1, 1, 1, 1, 1, 1]
    counts, lanes = (job["channels"], job["filters"]), 32 // itemsize
    are_vectors = min(counts) >= 2 * lanes and all(n % lanes == 0 for n in counts)
    return is_plain and are_vectors and job["examples"] * math.prod(job["out"]) >= TRANSFORMED


def _winograd(job: Job, dtype: Any, threads: int) -> Make:
    """A function that runs the job in Winograd's form: `run(y, x, w)`."""
    itemsize, channels, filters = dtype.itemsize, job["channels"], job["filters"]
    panel, job["chunk"] = PANEL // itemsize, CHUNK
    tiles = job["examples"] * math.prod([-(-n // 4) for n in job["out"]])
    many = min(max(TILES // (36 * itemsize * (channels + filters)), 48) // 8 * 8, 192)
    job["segments"] = -(-channels // CHUNK)
    own = (24 * job["segments"] + 16 * many) // itemsize + 36 * many * (channels + filters) + panel
    own = _up(own, panel)
    kernels = 36 * channels * _up(filters, panel)
    shares = _shares(threads, -(-tiles // many), products_of(job))
    memory = kernels + max(own * len(shares), 9 * channels * _up(filters, panel)) + panel

    def make() -> Run:
        table = encoded([job])
        prepare, work = _function("transform", dtype, 2, 1, counted=False), _function("winograd", dtype, 3, 4, counted=False)

        def run(y: Any, x: Any, w: Any) -> None:
            scratch, given = Scratch(), table.ctypes.data
            try:
                room = scratch(y, memory, dtype)
                prepare(given, w, room, kernels)
                run_all(work, [(given, x, y, room, kernels + own * i, many, *share) for i, share in enumerate(shares)])
            finally:
                scratch.free()

        return run

    return make


def _is_large(job: Job) -> bool:
    """Whether the kernels are so large beside the results that the sums would pass through memory too often. NumPy's product is faster."""
    return bool(job["channels"] * job["filters"] * math.prod(job["window"]) > LARGE * job["examples"] * math.prod(job["out"]))


def _gradient(job: Job, dtype: Any, threads: int) -> Make:
    """A function that writes the gradient of a kernel: `run(w, x, y)`."""
    itemsize, channels = dtype.itemsize, job["channels"]
    panel, taps = PANEL // itemsize, math.prod(job["window"])
    job["chunk"] = channels * taps
    job["gap"] = 0 if channels * itemsize % (2 * PANEL) else panel
    job["in_place"], job["segments"] = int(job["x_channel"] == 1 and edges_of(job)[0] == 1 and not job["gap"]), taps
    job["block"], nbytes = _block(job, itemsize, PIXELS)
    panels, pixels = -(-job["filters"] // panel), _pixels(job)
    own = (24 * taps + CLASS + 16 * pixels + 8 * (taps * channels + pixels)) // itemsize + nbytes // itemsize + 2 * panel
    own = _up(own + panels * panel * (taps * channels + pixels), panel)

    def make() -> Run:
        table, work = encoded([job]), _function("kernel", dtype, 4, 3, counted=False)
        count_tiles = _library(C_TYPES[dtype.name])["tiles"]
        count_tiles.argtypes, count_tiles.restype = [ctypes.c_void_p], ctypes.c_longlong
        shares = _shares(threads, count_tiles(table.ctypes.data), products_of(job))

        def run(w: Any, x: Any, y: Any) -> None:
            scratch, given = Scratch(), table.ctypes.data
            try:
                room = scratch(w, own * len(shares) + panel, dtype)
                run_all(work, [(given, x, y, w, room, own * i, *share) for i, share in enumerate(shares)])
            finally:
                scratch.free()

        return run

    return make


def _block(job: Job, itemsize: int, most_pixels: int) -> tuple[list[int], int]:
    """How many examples, planes and rows of the result a block has, and the bytes of the images that it reads."""
    out, reach = job["out"], [(k - 1) * d + 1 for k, d in zip(job["window"], job["dilation"], strict=True)]
    most_bytes = CACHE * -(-job["channels"] // CHUNK)  # of many channels, a part is read at a time

    def nbytes(*shape: int) -> int:
        rows = [(n - 1) * s + r for n, s, r in zip((*shape, out[2]), job["stride"], reach, strict=True)]
        return int(max(math.prod(rows), 1) * (job["channels"] + job["gap"]) * itemsize)

    def fits(*shape: int) -> bool:
        return math.prod(shape) * int(out[2]) <= most_pixels and nbytes(*shape) <= most_bytes

    if fits(out[0], out[1]):
        most = min(most_bytes // nbytes(out[0], out[1]), most_pixels // math.prod(out))
        block = [_even(job["examples"], max(1, most)), out[0], out[1]]
    elif fits(1, out[1]):
        block = [1, _even(out[0], max(n for n in range(1, out[0] + 1) if fits(n, out[1]))), out[1]]
    else:
        block = [1, 1, _even(out[1], max((n for n in range(1, out[1] + 1) if fits(1, n)), default=1))]
    return block, block[0] * nbytes(*block[1:])


def _even(length: int, most: int) -> int:
    """The size of the largest of nearly equal parts."""
    return -(-length // -(-length // most))


def _pixels(job: Job) -> int:
    return math.prod([*job["block"], job["out"][2]])


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _shares(threads: int, items: int, products: int) -> list[tuple[int, int]]:
    """What each of at most so many threads does."""
    count = max(1, min(threads, items, products // SHARE))
    return list(itertools.pairwise([items * i // count for i in range(count + 1)]))


@functools.cache
def _library(c_type: str) -> ctypes.CDLL:
    """The library for entries of one type: each takes a second or two to compile."""
    text = [native.source(name) for name in ("convolution", "convolution_kernel", "winograd")]
    return native.library("\n".join([*text, f"FOR({c_type}) KERNEL({c_type}) WINOGRAD({c_type})"]), "-ffp-contract=fast")


def _function(name: str, dtype: Any, arrays: int, numbers: int = 0, *, counted: bool = True) -> Callable[..., None]:
    """A function of the library for a dtype. It takes the jobs, perhaps their number, so many arrays, and so many numbers."""
    c_type = C_TYPES[dtype.name]
    found = _library(c_type)[f"{name}_{c_type}"]
    long = ctypes.c_longlong
    found.argtypes = [ctypes.c_void_p, *[long] * counted, *[ctypes.py_object] * arrays, *[long] * numbers]
    found.restype = None
    return found
