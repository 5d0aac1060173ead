"""The sum of an array over two processes: fdezero, mpi4py, PyTorch over gloo, JAX on two devices."""

from .measure import table
from .reducing_legs import BYTES
from .scaling import is_missing, launcher, ran

ROUNDS = 3


def run() -> str:
    """Microseconds of the fastest round. Legs take turns, each time as new processes."""
    if launcher() is None:
        return ""
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for leg in ("ours", "torch", "jax"):
            if is_missing(leg):
                continue
            for name, times in ran("tests.benchmarks.reducing_legs", [leg], 2, devices=leg == "jax").items():
                mine = best.setdefault(name, {})
                for nbytes, took in times.items():
                    mine[nbytes] = min(mine.get(nbytes, took), took)
    floor = next(iter(best.values()))
    rows = [
        [name, *(cell for n in map(str, BYTES) for cell in (f"{times[n]:,.0f}", f"{times[n] / floor[n]:.2f}"))]
        for name, times in best.items()
    ]
    names = ["4 kB", "256 kB", "4 MB", "100 MB"]
    return table(
        ["the sum over two processes, float32", *(f"{name}, {column}" for name in names for column in ("us", "ratio"))],
        rows,
    )
