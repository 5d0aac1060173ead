"""What the examples share: checked arguments, a line for each file, and an end without a traceback."""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import fdezero as fd
from fdezero.devices import why_no_gpu
from fdezero.distributed.launchers import launch_of
from fdezero.errors import FdezeroError


class Parser(argparse.ArgumentParser):
    """An argument parser that says in one line what is wrong."""

    def __init__(self, example: str, description: str | None) -> None:
        super().__init__(f"python -m fdezero.examples.{example}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help shows the options)\n")


def number(kind: type, low: float, below: float = math.inf) -> Callable[[str], Any]:
    """An argument that is a number of `kind`, from `low` on and smaller than `below`."""
    wanted = f"a {'whole ' if kind is int else ''}number, {low} or more"
    if below < math.inf:
        wanted += f" and below {below}"

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < below:
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return parse


def devices(text: str) -> list[str]:
    """An argument that names devices to run on, one after the other: `auto`, `cpu`, `gpu` or `both`."""
    if text not in ("auto", "cpu", "gpu", "both"):
        raise argparse.ArgumentTypeError(f"{text} is not auto, cpu, gpu or both")
    reason = "" if text == "cpu" else why_no_gpu()
    if reason and text != "auto":
        raise argparse.ArgumentTypeError(f"there is no GPU to use. {reason.rstrip('.')}")
    return ["cpu", "gpu"] if text == "both" else ["cpu" if reason or text == "cpu" else "gpu"]


def folder(text: str) -> Path:
    """An argument that is a folder to read from."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def output(*endings: str) -> Callable[[str], Path]:
    """An argument that is a file to write, whose name has one of these endings."""

    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix not in endings:
            raise argparse.ArgumentTypeError(f"{text} does not end in {' or '.join(endings)}")
        folder(str(path.parent))
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise argparse.ArgumentTypeError(f"you may not write to {path if path.exists() else path.parent}")
        return path

    return parse


SAVED: list[Path] = []  # so that an interrupted example can say whether there is anything


def saved(path: Path) -> None:
    """Say what was written."""
    SAVED.append(path)
    print(f"saved to {path} ({path.stat().st_size / 1e3:,.0f} kB)", flush=True)


def warn_of_threads(processes: int) -> None:
    """Say what makes several processes on one machine slow: each of them takes all cores for its products."""
    cores = os.cpu_count() or 1
    # A launcher may bind processes to cores.
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    is_set = any(name in os.environ for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"))
    if processes * own > cores and not is_set:
        each = f"OPENBLAS_NUM_THREADS={max(1, cores // processes)}"
        print(
            f"each process takes {own} cores for its products; with {each} before mpiexec it is faster", file=sys.stderr
        )


def run(main: Callable[[], None], together: bool = False) -> None:
    """Run an example. An error is one line and exit code 2, and Ctrl-C a line and code 130.

    Of several processes that work `together` the first one prints. An error on any of them ends all, and the library says which
    ones failed. An example that does not know of others runs on the first one alone.
    """
    launch = launch_of()
    if launch is not None and launch.size > 1 and not together:
        if launch.rank:
            return
        print(
            f"this example runs on one process; {launch.size - 1} more had nothing to do", file=sys.stderr, flush=True
        )
    elif launch is not None and launch.size > 1:
        world = fd.distributed.world()
        if world.rank == 0:
            warn_of_threads(world.local_size)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere if world.rank else sys.stdout):
            main()
        return
    try:
        main()
    except BrokenPipeError:  # a reader such as `head` has enough: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (FdezeroError, OSError, MemoryError) as error:
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        start = "\r" if sys.stderr.isatty() else ""  # over the terminal's ^C
        print(f"{start}interrupted" + ("" if SAVED else ": nothing was saved"), file=sys.stderr)
        sys.exit(130)
