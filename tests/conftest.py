"""Settings for all tests: one BLAS thread, how many processes run them, and why some were skipped."""

import gc
import os
import signal

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["FDEZERO_NATIVE_CACHE"] = "0"  # tests that keep libraries on disk choose a folder of their own

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from fdezero.devices.placement import why_no_gpu

from . import profiles  # noqa: F401, loads the profile before any test module reads it
from .devices.strict_cupy import gpu, peers, strict_cupy, written  # noqa: F401, fixtures

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores ctrl-c, and so would the programs that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_GPU = why_no_gpu().partition(":")[0].rstrip(".")
REPEATED = pytest.StashKey[int]()  # how many tests would run once more on a GPU


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run a single file in this process: workers get whole files, and most files run faster than a worker starts."""
    files = {arg.partition("::")[0] for arg in config.args}
    return 0 if len(files) == 1 and all(Path(file).is_file() for file in files) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole files to workers in the order of `scheduling`; pytest-xdist alone would begin with those of the most tests."""
    if config.getoption("dist") != "loadfile":
        return None
    from . import scheduling

    config.option.loadscopereorder = False
    return scheduling.Scheduling(config, log)


@pytest.hookimpl(trylast=True)  # after -k and -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        from . import scheduling

        items[:] = scheduling.in_order(items)
    for item in items:
        if " at 0x" in item.nodeid:  # Every process has another address, so pytest-xdist would stop.
            raise pytest.UsageError(f"{item.nodeid} has an address in its name: give the parameters ids")
    if NO_GPU:
        config.stash[REPEATED] = sum("gpu" in getattr(item, "fixturenames", ()) for item in items)
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=f"no CUDA GPU ({NO_GPU})"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without the garbage collector, whose rounds over ever more items take longer than the rest: all of them stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        # Hypothesis looks for the owner of its random numbers once, and sees no owner that is frozen.
        hypothesis.find(strategies.just(0), lambda _: True)
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After a file, leave what it keeps out of further rounds: `gc.collect()` in a test costs as much after a thousand tests as alone."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["repeated"] = session.config.stash.get(REPEATED, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Take the number of tests from a finished worker; all workers collect the same tests."""
    if hasattr(node, "workeroutput"):  # A crashed worker does not have any.
        node.config.stash[REPEATED] = node.workeroutput["repeated"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one line for each reason why tests were skipped."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:,} skipped: {reason}")
    if repeated := config.stash.get(REPEATED, 0):
        terminalreporter.write_line(f"{repeated:,} ran on the stand-in for CuPy alone: no CUDA GPU ({NO_GPU})")
