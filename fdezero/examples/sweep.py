"""Search for a learning rate: many small trainings in processes, threads, joblib, Dask or Ray, or all of them in one program (vmap)."""

import argparse
import importlib.util
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

SIZES, BATCH = (2, 32, 32, 3), 50


class Trial(NamedTuple):
    """A training to run: what differs from trial to trial, and what does not."""

    rate: float
    seed: int
    epochs: int


def loss_fn(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


# The rate is an input, so one recording serves every rate, and `vmap` can map over rates.
@fd.compile
def train_step(model: Any, state: Any, rate: Any, x: Any, t: Any) -> tuple[Any, Any]:
    grads = fd.grad(loss_fn)(model, x, t)
    return optim.adam(rate).step(model, grads, state)


def start(key: Any) -> tuple[Any, Any]:
    """A new network, and the state of its optimiser."""
    model = nn.MLP.init(key, SIZES, activation=F.tanh)
    return model, optim.adam(1.0).init(model)  # a state does not depend on the rate


def points(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a spiral to train with (part 0) or to test with (part 1)."""
    return fd.data.spiral(fd.random.key(part), points=200)


def batches(epochs: int) -> Any:
    loader = fd.data.DataLoader(points(0), BATCH, key=fd.random.key(2))
    return (batch for epoch in range(epochs) for batch in loader.epoch(epoch))


def train(trial: Trial) -> float:
    """The loss on the test points after one training. It runs anywhere: all that it needs is its argument."""
    model, state = start(fd.random.key(trial.seed))
    for x, t in batches(trial.epochs):
        model, state = train_step(model, state, trial.rate, x, t)
    return float(loss_fn(model, *points(1)))


def by_futures(trials: Sequence[Trial], workers: int) -> list[float]:  # and so on: ways to run all trials
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(train, trials))


def by_threads(trials: Sequence[Trial], workers: int) -> list[float]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(train, trials))


def by_joblib(trials: Sequence[Trial], workers: int) -> list[float]:
    import joblib

    return list(joblib.Parallel(n_jobs=workers)(joblib.delayed(train)(trial) for trial in trials))


def by_dask(trials: Sequence[Trial], workers: int) -> list[float]:
    from distributed import Client

    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 40}
    with Client(**options) as client:
        return list(client.gather(client.map(train, trials)))


def by_ray(trials: Sequence[Trial], workers: int) -> list[float]:
    import ray

    with ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False):
        remote = ray.remote(train)
        return list(ray.get([remote.remote(trial) for trial in trials]))


def by_vmap(trials: Sequence[Trial], workers: int) -> list[float]:
    """All trials in one program, whose arrays have one more axis. It needs no worker."""
    rates = np.array([trial.rate for trial in trials], np.float32)
    models, states = fd.vmap(start)(np.stack([fd.random.key(trial.seed) for trial in trials]))
    step = fd.compile(fd.vmap(train_step, in_axes=(0, 0, 0, None, None)))
    for x, t in batches(trials[0].epochs):  # all trials see the same batches
        models, states = step(models, states, rates, x, t)
    return [float(loss) for loss in fd.vmap(loss_fn, in_axes=(0, None, None))(models, *points(1))]


WAYS = {way.__name__[3:]: way for way in (by_vmap, by_futures, by_threads, by_joblib, by_dask, by_ray)}
PACKAGES = {"joblib": ("joblib", "joblib"), "dask": ("distributed", "dask[distributed]"), "ray": ("ray", "ray")}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("sweep", __doc__, saves=(".svg", ".png"), device=False)
    add = parser.add_argument
    add("--with", dest="way", choices=WAYS, default="vmap", help="where the trainings run (%(default)s)")
    add("--rates", type=number(int, 1), default=8, quick=3, help="how many rates, from 0.0001 to 0.3 (%(default)s)")
    add("--seeds", type=number(int, 1), default=2, quick=1, help="trainings for each rate (%(default)s)")
    add("--epochs", type=number(int, 1), default=50, quick=2, help="how often a training sees the points (%(default)s)")
    add("--workers", type=number(int, 1), default=os.cpu_count() or 1, help="processes or threads (%(default)s)")
    options = parser.parse_args(arguments)
    module, package = PACKAGES.get(options.way, ("", ""))
    if module and not importlib.util.find_spec(module):
        parser.error(f"--with {options.way} needs a package: pip install '{package}'")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    rates = np.geomspace(1e-4, 0.3, options.rates).tolist()
    trials = [Trial(rate, options.seed + i, options.epochs) for rate in rates for i in range(options.seeds)]
    # A process for each core must not start a thread of BLAS for each core as well. Workers inherit this setting.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    first_line(options, f"sweep: {options.rates} rates and {options.seeds} seeds with {options.way}")
    began = time.perf_counter()
    losses = np.reshape(WAYS[options.way](trials, options.workers), (options.rates, options.seeds))
    print(f"{len(trials)} trainings in {time.perf_counter() - began:.2f} seconds", flush=True)
    means = np.where(np.isfinite(losses), losses, np.inf).mean(1)
    for rate, mean, row in zip(rates, means, losses, strict=True):
        mark = "  <- best" if mean == means.min() else ""
        print(f"rate {rate:.5f}: test loss {mean:.4f} ({', '.join(f'{loss:.4f}' for loss in row)}){mark}")
    figure("test loss of the best rate", means.min(), at_most=0.05, stated=options.stated)
    if options.save:
        with drawing(options.save, 7, 4) as picture:
            axes = picture.subplots()
            axes.loglog(rates, losses, ".", color="tab:grey")
            axes.loglog(rates, means)
            axes.set(xlabel="learning rate", ylabel="test loss", title="Each training, and the mean of the seeds")


if __name__ == "__main__":
    run(main)
