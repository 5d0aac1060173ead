"""The one command: `python -m tests.mutation --count 200 --seed 0`. It needs Unix, and about an hour for 200 mutants.

Every mutant is written into a copy of the repository, in a temporary folder. Its tests run there until one fails,
the likeliest to notice first. You get a diff of every mutant that no test noticed.
"""

import argparse
import collections
import fnmatch
import importlib.util
import math
import os
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from .accepted import ACCEPTED
from .mutants import Mutant, draw

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(f"fdezero/{name}" for name in ("core", "ops", "transforms", "functions", "optim", "io"))
ENDS = ("first", "laws", "others", "time", "survived")
MEMORY = 8 << 30  # bytes of address space: a mutant may ask for any size

ENGINE = (
    "test_transforms test_derivatives test_custom_rules test_complex test_regressions test_first_mistakes test_values"
)
OPERATIONS = "test_ops test_numpy test_numpy_functions test_complex test_transforms test_regressions"
LAWS = "test_laws test_devices test_function_laws"
# A mutant's file -> the tests that are likeliest to notice, in a few seconds, and the laws, which take longer.
# Then come all others.
TESTS = (
    ("fdezero/core/lines.py", "test_debug", "test_debug_keys_and_rules"),
    ("fdezero/core/primitive.py", f"{ENGINE} test_docstrings", "test_laws test_transform_laws"),
    ("fdezero/core/*", ENGINE, "test_laws test_transform_laws"),
    ("fdezero/transforms/*", f"{ENGINE} test_transform_names", "test_transform_laws test_laws"),
    ("fdezero/ops/collectives.py", "test_operations test_control", ""),
    ("fdezero/ops/talking.py", "test_control test_shards", ""),
    ("fdezero/ops/linalg/*", "test_linalg test_linalg_complex", LAWS),
    ("fdezero/ops/fourier.py", "test_fft", LAWS),
    ("fdezero/ops/special.py", "test_special", LAWS),
    ("fdezero/ops/windows.py", "test_convolution", LAWS),
    ("fdezero/ops/patches.py", "test_convolution", LAWS),
    ("fdezero/ops/unfolding.py", "test_convolution", LAWS),
    ("fdezero/ops/pooling.py", "test_pooling", LAWS),
    ("fdezero/ops/window_steps.py", "test_pooling", LAWS),
    ("fdezero/ops/normalisation.py", "test_normalisation test_batch_norm", LAWS),
    ("fdezero/ops/memory_order.py", "test_normalisation", LAWS),
    ("fdezero/ops/*", OPERATIONS, LAWS),
    ("fdezero/functions/convolution.py", "test_convolution", "test_function_laws"),
    ("fdezero/functions/window_arguments.py", "test_convolution", "test_function_laws"),
    ("fdezero/functions/pooling.py", "test_pooling", "test_function_laws"),
    ("fdezero/functions/normalisation.py", "test_normalisation test_batch_norm", "test_function_laws"),
    ("fdezero/functions/batch_statistics.py", "test_batch_norm test_normalisation", "test_function_laws"),
    ("fdezero/functions/moments.py", "test_batch_norm_over_ranks", "test_layer_laws"),
    ("fdezero/functions/activations.py", "test_activations", "test_function_laws"),
    ("fdezero/functions/attention.py", "test_attention", "test_function_laws"),
    ("fdezero/functions/ctc.py", "test_ctc test_losses", "test_function_laws"),
    ("fdezero/functions/classification.py", "test_losses", "test_function_laws"),
    ("fdezero/functions/distances.py", "test_losses", "test_function_laws"),
    ("fdezero/functions/losses.py", "test_losses", "test_function_laws"),
    ("fdezero/functions/reduction.py", "test_losses", "test_function_laws"),
    ("fdezero/functions/cells.py", "test_recurrent", "test_function_laws"),
    ("fdezero/functions/recurrent.py", "test_recurrent", "test_function_laws"),
    ("fdezero/functions/*", "test_functions test_layer_laws test_nn", "test_function_laws test_debug_keys_and_rules"),
    ("fdezero/optim/methods/scipy_bridge.py", "test_scipy_minimize", ""),
    ("fdezero/optim/methods/lbfgs.py", "test_lbfgs", ""),
    ("fdezero/optim/methods/line_search.py", "test_lbfgs", ""),
    ("fdezero/optim/methods/*", "test_methods test_optimiser_laws", "test_precision_laws test_transformations"),
    ("fdezero/optim/precision.py", "test_precision test_loss_scale", "test_policy_laws"),
    ("fdezero/numpy/precision.py", "test_half_precision test_precision", "test_precision_laws"),
    ("fdezero/optim/*", "test_optimiser_laws test_optim test_transformations test_wrappers test_masks", "test_training test_nn"),
    ("fdezero/training/metrics/*", "test_metric_laws test_metrics", ""),
    ("fdezero/training/*", "test_progress test_logs test_fit test_plots test_state", "test_docs"),
    ("fdezero/data/transforms/*", "test_image_transform_laws test_image_transforms test_image_transforms_composed test_image_transforms_pillow", ""),
    ("fdezero/data/sets/image_folder.py", "test_image_folder", ""),
    ("fdezero/data/sets/*", "test_sets test_data", "test_dataset_laws"),
    ("fdezero/data/showing.py", "test_show", ""),
    ("fdezero/io/download.py", "test_download test_sets", ""),
    ("fdezero/io/cache.py", "test_data", ""),
    ("fdezero/native/*", "test_disk_cache test_native_compilers test_native_operations", ""),
    *((f"fdezero/io/{name}.py", "test_checkpoints test_checkpoints_mistakes test_snapshots", "test_checkpoints_killed") for name in ("checkpoints", "index", "snapshots", "background")),
    ("fdezero/io/*", "test_io test_io_mapped test_io_shards test_safetensors test_io_hostile", "test_io_files test_io_saving test_io_killed test_io_bfloat16"),
    ("fdezero/commands/*", "test_commands test_convert test_words", ""),
    ("*", "", ""),
)
SLOW = (  # run last
    "test_transform_laws test_function_laws test_compile_programs test_compile_native test_compile_memory test_compile_threads test_compile_kernels "
    "test_strict_kernel test_testing_strategies test_odeint test_data test_mnist test_typing"
).split()


def stages(path: Path, folder: Path) -> list[tuple[str, list[str]]]:
    """The test files for a mutant of `path`, in the order in which they run: the likeliest, each of the laws, all others."""
    files: dict[str, list[str]] = {}  # by their names, which several folders may have
    for file in sorted((folder / "tests").rglob("test_*.py")):
        files.setdefault(file.stem, []).append(str(file.relative_to(folder)))
    first, laws = next(
        (first.split(), laws.split()) for pattern, first, laws in TESTS if fnmatch.fnmatch(str(path), pattern)
    )
    if missing := {*first, *laws, *SLOW} - files.keys():
        sys.exit(f"no test file named {', '.join(sorted(missing))}: tests/mutation/__main__.py names it.")
    rest = files.keys() - {*first, *laws}
    named = {
        stem for stem in rest if any(path.parts[1] in (folder / file).read_text() for file in files[stem])
    }  # tests that name the package come first
    others = sorted(rest, key=lambda stem: (stem in SLOW, stem not in named, stem))
    ordered = [("first", first), *(("laws", [law]) for law in laws), ("others", others)]
    return [(name, [file for stem in stems for file in files[stem]]) for name, stems in ordered if stems]


class Copy:
    """A copy of the repository, in which one mutant lives at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", ".git", ".*_cache", ".hypothesis", ".venv", "build", "dist")
        shutil.copytree(ROOT, folder, ignore=ignored)

    def write(self, path: Path, source: bytes) -> None:
        """Write a file and delete its byte code, which Python would reuse after a change of equal length within a second."""
        (self.folder / path).write_bytes(source)
        Path(importlib.util.cache_from_source(str(self.folder / path))).unlink(missing_ok=True)

    def test(self, tests: Sequence[str], seconds: float) -> str | None:
        """None if the tests pass, else the first failure, or "time" if they do not end."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            "--tb=no",
            *tests,
        ]
        environment = {"HYPOTHESIS_PROFILE": "quick", "OPENBLAS_NUM_THREADS": "1", **os.environ}
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "time"
        if not process.returncode:
            return None
        failures = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
        return failures[0] if failures else f"exit {process.returncode}, {output.strip().splitlines()[-1:]}"


@attrs.frozen
class Outcome:
    """The end of a mutant: the stage of tests that noticed it, or "time" or "survived"; and the first failure."""

    mutant: Mutant
    end: str
    failure: str
    seconds: float


class Run:
    """Mutants tested in several copies at once, each for at most `limit` seconds."""

    def __init__(self, folder: Path, jobs: int, limit: float) -> None:
        self.limit = limit
        self.clean = Copy(folder / "clean")
        self.copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for i in range(jobs):
            self.copies.put(Copy(folder / str(i)))
        self.times: dict[tuple[str, ...], float] = {}
        self.lock = threading.Lock()

    def time_of(self, *tests: str) -> float:
        """The seconds that tests take without a mutant. They must pass, otherwise a failure proves nothing."""
        with self.lock:
            if tests not in self.times:
                start = time.perf_counter()
                if failure := self.clean.test(tests, 600):
                    sys.exit(f"This test fails without any mutant: {failure}")
                self.times[tests] = time.perf_counter() - start
            return self.times[tests]

    def outcome(self, mutant: Mutant) -> Outcome:
        copy = self.copies.get()
        source = (copy.folder / mutant.path).read_bytes()
        spent = 0.0
        try:
            copy.write(mutant.path, mutant.apply(source))
            for stage, files in stages(mutant.path, copy.folder):
                # Tests that take ten times longer than without a mutant count as endless.
                patience = 10 * self.time_of(*files) + 10 if stage == "first" else math.inf
                left = max(self.limit - spent, 0)
                start = time.perf_counter()
                failure = copy.test(files, min(patience, left))
                spent += time.perf_counter() - start
                if failure == "time":
                    return Outcome(
                        mutant, "survived" if left < patience else "time", f"no failure in {spent:.0f} s", spent
                    )
                if failure:
                    if stage != "first" and failure.startswith("tests"):
                        self.time_of(failure)
                    return Outcome(mutant, stage, failure, spent)
            return Outcome(mutant, "survived", "all tests pass", spent)
        finally:
            copy.write(mutant.path, source)
            self.copies.put(copy)


def row(name: str, counts: collections.Counter[str]) -> str:
    """One line of the table."""
    return "| " + " | ".join([name, *(str(n) for n in (counts.total(), *(counts[end] for end in ENDS)))]) + " |"


def report(outcomes: list[Outcome], paths: list[str]) -> None:
    """Print the table of noticed mutants, and the diffs of unnoticed ones."""
    print(
        "\n| package | mutants | killed by the likeliest tests | by the laws | by others | no end | survived |\n|"
        + "---|" * 7
    )
    total: collections.Counter[str] = collections.Counter()
    for path in paths:
        counts = collections.Counter(outcome.end for outcome in outcomes if outcome.mutant.path.is_relative_to(path))
        total += counts
        print(row(f"`{path}`", counts))
    print(row("all", total))
    for outcome in outcomes:
        if outcome.end == "survived":
            mutant = outcome.mutant
            print(f"\n{mutant.path}:{mutant.line}, {mutant.kind}: {outcome.failure}")
            print(mutant.diff((ROOT / mutant.path).read_bytes()))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Plant faults, one at a time, and see which tests notice."
    )
    parser.add_argument("--count", type=int, default=200, help="how many mutants to draw")
    parser.add_argument(
        "--seed", type=int, default=0, help="which ones: the same seed draws the same from the same source"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATH",
        help="a package or file to draw from, as in fdezero/optim; several by repeating it",
    )
    parser.add_argument("--limit", type=float, default=240, help="seconds for one mutant, after which it has survived")
    parser.add_argument("--jobs", type=int, default=1, help="how many mutants to test at once")
    parser.add_argument("--numbers", help="of those drawn, only these, as in 3,17: to see a new test kill them")
    options = parser.parse_args()
    paths = options.only or list(PACKAGES)
    mutants = draw(ROOT, paths, options.count, options.seed, ACCEPTED)
    numbers = [int(n) for n in options.numbers.split(",")] if options.numbers else range(len(mutants))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        run = Run(Path(folder), options.jobs, options.limit)
        outcomes = []
        for number, outcome in zip(numbers, pool.map(run.outcome, [mutants[n] for n in numbers]), strict=True):
            mutant = outcome.mutant
            print(
                f"{number:4} {outcome.end} ({outcome.seconds:.0f} s) {mutant.path}:{mutant.line}, {mutant.kind}: {outcome.failure}",
                flush=True,
            )
            outcomes.append(outcome)
    report(outcomes, paths)


if __name__ == "__main__":
    main()
