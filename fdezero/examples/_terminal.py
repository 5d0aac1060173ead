"""What the examples share: checked arguments, a first line, a stated figure, pictures without a display, and an end without a traceback."""

import argparse
import contextlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import fdezero as fd
from fdezero.devices import to_numpy, why_no_gpu
from fdezero.distributed.launchers import launch_of
from fdezero.errors import FdezeroError, MissingExtraError


class Parser(argparse.ArgumentParser):
    """An argument parser that says in one line what is wrong, and knows the quick form of an example."""

    def __init__(self, example: str, description: str | None) -> None:
        text = None if description is None else description.partition("\n")[0]
        super().__init__(f"python -m fdezero.examples.{example}", description=text, allow_abbrev=False)
        self.in_quick: dict[str, Any] = {}

    def add_argument(self, *names: str, quick: Any = None, **settings: Any) -> Any:
        """An option as argparse has it, with the default that it has in the quick form."""
        action = super().add_argument(*names, **settings)
        if quick is not None:
            self.in_quick[action.dest] = quick
        return action

    def parse_args(self, arguments: list[str] | None = None) -> argparse.Namespace:  # type: ignore[override]  # lists alone
        """The options. `options.stated` says whether the stated figure holds for them: every number is the default."""
        defaults = {action.dest: action.default for action in self._actions}
        is_quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
        self.set_defaults(**(self.in_quick if is_quick else {}))
        try:
            options = super().parse_args(arguments)
        finally:
            self.set_defaults(**{name: defaults[name] for name in self.in_quick})
        pairs = [(value, getattr(options, name)) for name, value in defaults.items() if name != "help"]
        options.stated = all(a == b for a, b in pairs if isinstance(a, int | float) or isinstance(b, int | float))
        path = getattr(options, "save", None)
        if path and path.suffix != ".txt" and not importlib.util.find_spec("matplotlib"):
            raise MissingExtraError(f"--save {path} needs matplotlib: pip install 'fdezero[plot]'")
        return options

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help shows the options)\n")


def example_parser(
    name: str, doc: str | None, saves: tuple[str, ...] = (".png", ".svg"), device: bool = True
) -> Parser:
    """The parser of an example with the options that all share. `saves` are the endings of the file that it can write.

    `add("--epochs", type=number(int, 1), default=20, quick=1, help=...)` gives an option its default in the quick form.
    """
    parser = Parser(name, doc)
    add, what = parser.add_argument, "the text" if saves == (".txt",) else "the picture"
    add("--quick", action="store_true", help="a tiny form, for tests: it ends in about a second and reaches nothing")
    add("--seed", type=number(int, 0), default=0, help="for all random numbers (%(default)s)")
    add("--save", type=output(*saves), metavar="FILE", help=f"write {what}: {', '.join(saves)}")
    if device:
        add("--device", type=one_device, default="auto", help="cpu, gpu, or auto: the GPU if it works")
    return parser


def first_line(options: argparse.Namespace, text: str) -> None:
    """Say what runs, before anything slow happens."""
    device = getattr(options, "device", None)
    where = "" if device is None else f", device: {device if isinstance(device, str) else ' and '.join(device)}"
    print(f"{'quick form of ' if options.quick else ''}{text}{where}", flush=True)


def figure(
    name: str, value: Any, *, at_least: float | None = None, at_most: float | None = None, stated: bool = True
) -> bool:
    """Print the figure of an example beside the stated one, and say whether it is reached.

    With `stated=False` (the quick form, or `options.stated` of a run with other numbers) the line has the figure alone.
    """
    value = float(value)
    text = f"{name}: {value:.4f}" if abs(value) >= 0.01 or not value else f"{name}: {value:.2e}"
    reached = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)  # NaN reaches nothing
    if stated:
        bounds = [
            f"{bound:g} or {word}" for bound, word in ((at_least, "more"), (at_most, "less")) if bound is not None
        ]
        text += f" (stated: {' and '.join(bounds)}{'' if reached else '; NOT REACHED'})"
    print(text, flush=True)
    return reached


@contextlib.contextmanager
def drawing(path: Path, width: float = 8, height: float = 4) -> Iterator[Any]:
    """A figure of matplotlib, without a display, that is written to `path` at the end: `axes = figure.subplots()`."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"{path} needs matplotlib: pip install 'fdezero[plot]'") from error
    picture = Figure(figsize=(width, height), layout="constrained")
    yield picture
    with rc_context({"svg.hashsalt": "fdezero"}):  # the same run writes the same file
        picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    saved(path)


def show_images(axes: Any, images: Any, columns: int = 10, title: str = "") -> None:
    """Draw images (N, ..., height, width) with values from 0 to 1 in one grid, without axes. Those of colour are (N, 3, height, width)."""
    images = to_numpy(images)
    images = images.reshape(len(images), -1 if images.ndim == 4 else 1, *images.shape[-2:])
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    grid = np.ones((rows * columns, channels, height + 2, width + 2), images.dtype)  # white lines between images
    grid[:count, :, 1:-1, 1:-1] = images
    grid = grid.reshape(rows, columns, channels, height + 2, width + 2).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * (height + 2), columns * (width + 2), channels)
    axes.imshow(
        np.clip(grid if channels == 3 else grid[..., 0], 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_axis_off()
    axes.set_title(title)


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


def one_device(text: str) -> str:
    """An argument that names one device: `auto`, `cpu` or `gpu`."""
    if text not in ("auto", "cpu", "gpu"):
        raise argparse.ArgumentTypeError(f"{text} is not auto, cpu or gpu")
    return devices(text)[0]


def folder(text: str) -> Path:
    """An argument that is a folder to read from."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def file(text: str) -> Path:
    """An argument that is a file to read."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
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
