"""Jobs of native convolution: sizes, and the steps of arrays in memory, in the order of the fields of `Job` in `convolution.cpp`.

A convolution is one job. conv_input is one job for each phase of its strides: a convolution of y with a part of the kernel, turned around.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .patches import Ints
from .window_steps import phases_of

Job = dict[str, Any]
FIELDS = (
    ("stacks", 1), ("groups", 1), ("examples", 1), ("channels", 1), ("filters", 1),
    ("size", 3), ("window", 3), ("out", 3), ("stride", 3), ("before", 3), ("dilation", 3),
    ("x_at", 1), ("x_stack", 1), ("x_example", 1), ("x_space", 3), ("x_channel", 1),
    ("w_at", 1), ("w_stack", 1), ("w_group", 1), ("w_filter", 1), ("w_space", 3), ("w_channel", 1),
    ("y_at", 1), ("y_stack", 1), ("y_example", 1), ("y_space", 3), ("y_channel", 1),
    ("packed_at", 1), ("block", 3), ("chunk", 1), ("parts", 1), ("in_place", 1), ("gap", 1), ("segments", 1), ("by_edge", 1),
)  # fmt: skip
OPERANDS = {"y": "xw", "x": "wy", "w": "xy"}  # of the operation whose result is y, x or w


def encoded(jobs: list[Job]) -> np.ndarray:
    """The jobs as C++ reads them."""
    rows = []
    for job in jobs:
        row: list[int] = []
        for name, count in FIELDS:
            row += [job[name]] if count == 1 else job[name]
        rows.append(row)
    return np.array(rows, np.int64)


def job_of(form: str, inputs: Any, out: Any, params: dict[str, Any], fewest: int) -> Job | None:
    """The job of the operation whose result is `form`. None where the arrays are not served, or lie in another way.

    Groups of fewer than `fewest` channels or filters are not served.
    """
    given = dict(zip((*OPERANDS[form], form), (*inputs, out), strict=True))
    rank, dtype, groups = len(params["strides"]), out.dtype, params["groups"]
    if rank > 3 or dtype.name not in ("float32", "float64") or not dtype.isnative:
        return None
    for like in given.values():
        if like.dtype != dtype or 0 in like.shape or any(stride % dtype.itemsize for stride in like.strides):
            return None
    x, w, y = given["x"], given["w"], given["y"]
    channels, filters = w.shape[-rank - 1], w.shape[-rank - 2] // groups
    if groups > 1 and min(channels, filters) < fewest:
        return None
    loops = out.shape[: -rank - 2]
    stacks = 1 if math.prod(w.shape[: -rank - 2]) == 1 else math.prod(loops)
    lying = [_lying(name, like, loops, stacks, rank) for name, like in given.items()]
    if None in lying:
        return None
    job: Job = {
        "stacks": stacks, "groups": groups, "channels": channels, "filters": filters,
        "examples": x.shape[-rank - 2] * (math.prod(loops) if stacks == 1 else 1),
        "size": _three(x.shape[-rank:], 1), "window": _three(w.shape[-rank:], 1), "out": _three(y.shape[-rank:], 1),
        "stride": _three(params["strides"], 1), "before": _three(params["before"], 0), "dilation": _three(params["dilation"], 1),
        "packed_at": 0, "parts": 1, "gap": 0, "block": (0, 0, 0), "in_place": 0, "segments": 0, "by_edge": 0,
    }  # fmt: skip
    for part in lying:
        job.update(part or {})
    job["w_group"] = filters * job["w_filter"]
    return job if form == "w" or job[f"{form}_channel"] == 1 else None


def _three(values: Ints, missing: int) -> list[int]:
    """A value for each of three axes in space, of which the first may be missing."""
    return [missing] * (3 - len(values)) + list(values)


def _lying(name: str, like: Any, loops: Ints, stacks: int, rank: int) -> Job | None:
    """The steps of images (..., N, C, *S), or of kernels (..., K, C, *I): of stacks, of examples or filters, of channels, in space.

    With one stack the loop axes of images are examples.
    """
    missing, cut = len(loops) - (len(like.shape) - rank - 2), len(loops)
    own = [0 if n == 1 else s // like.dtype.itemsize for n, s in zip(like.shape, like.strides, strict=True)]
    steps, shape = [0] * missing + own, (*loops, *like.shape[-rank - 2 :])
    stack, example = joined(loops, steps[:cut]), steps[cut]
    if stacks == 1:
        stack = 0
    if stacks == 1 and name != "w":
        example = joined(shape[: cut + 1], steps[: cut + 1])
    if stack is None or example is None:
        return None
    kind = ("w_filter", "w_channel") if name == "w" else (f"{name}_example", f"{name}_channel")
    channel = steps[cut + 1] if shape[cut + 1] > 1 else 1
    space = _three(tuple(steps[cut + 2 :]), 0)
    return {f"{name}_at": 0, f"{name}_stack": stack, kind[0]: example, kind[1]: channel, f"{name}_space": space}


def joined(shape: Ints, steps: list[int]) -> Any:
    """The step of several axes that can be one axis; None if they cannot."""
    axes = [i for i, n in enumerate(shape) if n != 1]
    if any(steps[i] != steps[j] * shape[j] for i, j in itertools.pairwise(axes)):
        return None
    return steps[axes[-1]] if axes else 0


def turned(job: Job) -> Iterator[Job]:
    """conv_input as convolutions, one for each phase of the strides: x and y change places, as do channels and filters."""
    geometry = ("size", "window", "stride", "before", "dilation")
    axes = [list(phases_of(*each)) for each in zip(*[job[name] for name in geometry], strict=True)]
    for chosen in itertools.product(*axes):
        places = [range(n)[phase[0]] for n, phase in zip(job["size"], chosen, strict=True)]
        taps = [range(n)[phase[1]] for n, phase in zip(job["window"], chosen, strict=True)]
        yield {
            **job,
            "channels": job["filters"], "filters": job["channels"], "w_filter": job["w_channel"], "w_channel": job["w_filter"],
            "size": job["out"], "out": [len(place) for place in places], "window": [len(tap) for tap in taps],
            "stride": [1, 1, 1], "before": [phase[2] for phase in chosen], "dilation": [phase[3] for phase in chosen],
            **{f"x_{name}": job[f"y_{name}"] for name in ("at", "stack", "example", "space", "channel")},
            **{f"y_{name}": job[f"x_{name}"] for name in ("stack", "example", "channel")},
            "y_at": sum([place.start * step for place, step in zip(places, job["x_space"], strict=True)]),
            "y_space": [place.step * step for place, step in zip(places, job["x_space"], strict=True)],
            "w_at": sum([tap.start * step for tap, step in zip(taps, job["w_space"], strict=True)]),
            "w_space": [tap.step * step for tap, step in zip(taps, job["w_space"], strict=True)],
        }  # fmt: skip


def edges_of(job: Job) -> tuple[float, int]:
    """The part of a convolution's products that has entries inside the images, and how many classes of pixels see different taps."""
    part, classes = 1.0, 1
    for n, k, o, s, b, d in zip(*[job[name] for name in ("size", "window", "out", "stride", "before", "dilation")], strict=True):
        first = [i * s - b for i in range(o)]
        seen = [(min(max(0, -(f // d)), k), min(max(0, -((f - n) // d)), k)) for f in first]
        part *= sum([max(0, high - low) for low, high in seen]) / max(1, o * k)
        classes *= 1 + sum([a != b for a, b in itertools.pairwise(seen)])
    return part, classes


def products_of(job: Job) -> int:
    """The number of products that a job adds."""
    counts = [job[name] for name in ("stacks", "groups", "examples", "channels", "filters")]
    return math.prod([*counts, *job["window"], *job["out"]])
