"""The peak memory of a gradient (tracemalloc), without its arguments, beside autograd's; and what compiled functions keep of many shapes."""

import contextlib
import resource
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from typing import Any

import numpy as np

import fdezero as fd

from .measure import peer, table


def peak(function: Callable[[], Any]) -> float:
    """The greatest number of MB held at once during a call, after one call to warm up."""
    function()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def mlp_loss(np: Any) -> Callable[..., Any]:
    def loss(parameters: Any, x: Any, t: Any) -> Any:
        W1, b1, W2, b2 = parameters
        z = np.dot(1 / (1 + np.exp(-(np.dot(x, W1) + b1))), W2) + b2
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(100), t])

    return loss


def elementwise_chain(np: Any) -> Callable[..., Any]:
    def loss(x: Any) -> Any:
        for _ in range(10):
            x = np.sin(x) * 1.01 + 0.1
        return np.sum(x)

    return loss


def tanh_chain(np: Any) -> Callable[..., Any]:
    def loss(x: Any) -> Any:
        for _ in range(30):
            x = np.tanh(x)
        return np.sum(x)

    return loss


def product_chain(np: Any) -> Callable[..., Any]:
    def loss(W: Any, x: Any) -> Any:
        for _ in range(20):
            x = np.tanh(np.dot(x, W))
        return np.sum(x * x)

    return loss


def run() -> str:
    rng = np.random.default_rng(0)
    shapes = [(784, 1000), (1000,), (1000, 10), (10,)]
    weights = [(0.03 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]
    x, t = rng.random((100, 784), np.float32), rng.integers(0, 10, 100)
    million, W, rows = rng.random(10**6), 0.05 * rng.standard_normal((500, 500)), rng.standard_normal((1000, 500))
    cases: dict[str, tuple[Any, tuple[Any, ...], float]] = {
        "MLP loss, 784-1000-10, 100 rows, float32": (mlp_loss, (weights, x, t), sum(w.nbytes for w in weights)),
        "10 x (sin, *, +) on 1e6 float64": (elementwise_chain, (million,), million.nbytes),
        "30 x tanh on 1e6 float64": (tanh_chain, (million,), million.nbytes),
        "20 x (matmul, tanh) on (1000, 500) float64": (product_chain, (W, rows), W.nbytes),
    }
    autograd = peer("autograd")
    lines = []
    for name, (make, arguments, size) in cases.items():
        ours = fd.grad(make(fd.numpy))
        mine = peak(lambda: ours(*arguments))
        line = [name, f"{size / 1e6:.1f}", f"{mine:.1f}"]
        if autograd is not None:
            theirs = autograd.grad(make(peer("autograd.numpy")))
            other = peak(lambda: theirs(*arguments))
            line += [f"{other:.1f}", f"{mine / other:.2f}"]
        lines.append(line)
    return table(["peak of one gradient", "the gradient itself, MB", "fdezero, MB", *(["autograd, MB", "ratio"] if autograd else [])], lines)


def held() -> float:
    """The MB that this process holds now (on Linux; elsewhere the most that it has held)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def forget_peak() -> None:
    """Let `most_held` begin anew, where the system can (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def most_held() -> float:
    """The most MB that this process has held."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # Linux's `ru_maxrss` begins with that of the parent process
            return next(int(line.split()[1]) * 1024 / 1e6 for line in file if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _after_shapes(sizes: Iterable[int], marks: tuple[int, ...]) -> list[float]:
    compiled, found, before = fd.compile(lambda x: np.tanh(x) * 2 + np.sin(x).sum(), threads=1), [], held()
    for number, n in enumerate(sizes, start=1):
        x = np.ones(n)
        for _ in range(4):
            y = compiled(x)
        del x, y
        if number in marks:
            found.append(held() - before)
    return found


def run_shapes() -> str:
    """Each row in a fresh process, because a process seldom gives small pieces of memory back."""
    cases: dict[str, tuple[Iterable[int], tuple[int, ...]]] = {
        "vectors of 1 to 10,000 float64, in random order": (np.random.default_rng(0).permutation(10_000) + 1, (100, 1000, 10_000)),
        "vectors of 48 MB": (range(6_000_000, 6_000_030), (3, 10, 30)),
    }
    lines = []
    for name, (sizes, marks) in cases.items():
        with get_context("spawn").Pool(1) as pool:
            found = pool.apply(_after_shapes, (sizes, marks))
        lines += [[f"{mark:,} {name}", f"{mb:.0f}"] for mark, mb in zip(marks, found, strict=True)]
    return table(["shapes that one compiled function has met, four calls each", "MB more than before"], lines)
