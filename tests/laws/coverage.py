"""The coverage table of the documents: `python -m tests.laws.coverage` runs the laws and writes what they proved to docs/reference/coverage.md."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from . import (
    folding,
    functions,
    functions_activations,
    functions_attention,
    functions_convolution,
    functions_elementwise,
    functions_fft,
    functions_layers,
    functions_linalg,
    functions_losses,
    functions_networks,
    functions_parameters,
    functions_pooling,
    functions_recurrent,
    functions_shapes,
    functions_signal,
    functions_special,
    kinks,
)
from .cases import PROPERTIES, Case

TABLES = (
    functions_elementwise,
    functions_shapes,
    functions,
    functions_parameters,
    functions_linalg,
    functions_fft,
    functions_special,
    functions_signal,
    functions_networks,
    functions_activations,
    functions_losses,
    functions_attention,
    functions_convolution,
    functions_recurrent,
    functions_pooling,
    functions_layers,
)
CASES: list[Case] = [case for table in TABLES for case in table.CASES]
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "coverage.md"
MODULES = {
    "numpy": "fdezero.numpy",
    "linalg": "fdezero.numpy.linalg",
    "fft": "fdezero.numpy.fft",
    "special": "fdezero.special",
    "stats": "fdezero.stats",
    "signal": "fdezero.signal",
    "functions": "fdezero.functions",
}
Cell = tuple[str, str, str]  # module, function, property

MISSING = {
    "histogram2d histogramdd": "`digitize`, then `bincount` of the bins' numbers with `weights=` and `length=`",
    "copyto place put put_along_axis putmask": "`at(x)[index].set(y)`, which returns a new array; these write into an argument",
    "frompyfunc fromfunction vectorize": "`fd.vmap`; a function of `indices(shape)`",
    "einsum_path": "`einsum` takes its operands in the order given",
    "packbits unpackbits bitwise_count": "NumPy's own, outside the transforms; there is nothing to differentiate",
    "bartlett blackman hamming hanning kaiser": "NumPy's own; they depend on a number of points only",
    "diag_indices mask_indices tril_indices triu_indices": "NumPy's own; indices depend on shapes only",
    "ravel_multi_index": "`getitem(arange(size).reshape(shape), index)`",
}

HEAD = """# Coverage

`python -m tests.laws.coverage` writes this table from the laws that ran and passed. A mark (✓) says that every case of the function
that can have the property was tested and has it. A dash (—) says that the property does not apply: there is no derivative (integers or
truth values), the shape depends on values (no `vmap`, no `compile`), no argument is an array, or no case is complex.

- **reverse**, **forward**: derivatives agree with differences or the complex step, to second order (elementwise functions: third).
- **vmap**: batching over all arguments, and over each alone, agrees with a loop.
- **compiled**: each of three calls returns the bits of eager code, values and gradients.
- **CPU**: values and dtypes are those of NumPy, of SciPy, or of a formula in NumPy.
- **GPU**: values and gradients are those of the CPU, and stay on the device. Machines without a GPU prove it on a stand-in that refuses
  what CuPy refuses; the tests use CuPy itself where they find a GPU.
- **complex**: all of these laws hold for complex arguments; gradients are df/dx + i df/dy.
"""


def claimed(cases: Iterable[Case]) -> set[Cell]:
    """The cells that the tables claim."""
    return {(case.module, case.name, claim) for case in cases for claim in case.claims}


def document(proved: set[Cell]) -> str:
    """The document with a mark in every cell that is proved."""
    text = HEAD
    for module, title in MODULES.items():
        names = sorted({case.name for case in CASES if case.module == module}, key=str.lower)
        text += f"\n## {title}\n\n| function | {' | '.join(PROPERTIES)} |\n|---|{'---|' * len(PROPERTIES)}\n"
        for name in names:
            marks = ("✓" if (module, name, claim) in proved else "—" for claim in PROPERTIES)
            text += f"| `{name}` | {' | '.join(marks)} |\n"
    text += kinks.section()
    text += "\n## Not there\n\n`fdezero.numpy` does not have these functions of `jax.numpy` or `autograd.numpy`; use what stands beside them. It also lacks\n"
    text += (
        "the arguments `weights=` of `quantile`, `mean=` of `var` and `std`, and `full=` and `cov=` of `polyfit`.\n\n"
    )
    text += "| function | use instead |\n|---|---|\n"
    return text + "".join(
        f"| {', '.join(f'`{name}`' for name in names.split())} | {reason} |\n" for names, reason in MISSING.items()
    )


class Recorder:
    """A pytest plugin that collects the cells proved by passing laws, minus the cells denied by failing laws."""

    def __init__(self) -> None:
        self.passed: set[Cell] = set()
        self.failed: set[Cell] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Any:
        report = yield
        if mark := item.get_closest_marker("proves"):
            outcomes = [(entry.case, entry.outcome) for entry in folding.RAN]
            folding.RAN.clear()
            if (
                report.failed and report.when != "call"
            ):  # a fixture failed: no case ran, or something went wrong after them
                outcomes = [(case, "failed") for case in item.callspec.params["case"]]  # type: ignore[attr-defined]
            for case, outcome in outcomes:
                self.record(case, mark.args, outcome)
        return report

    def record(self, case: Case, claims: Iterable[str], outcome: str) -> None:
        """Record what a law that proves `claims` says about one case."""
        # All laws run on complex numbers, so one passing law does not prove a cell that another law denies.
        cells = {(case.module, case.name, claim) for claim in {*claims, "complex"} & case.claims}
        if outcome != "skipped":
            (self.failed if outcome == "failed" else self.passed).update(cells)

    @property
    def proved(self) -> set[Cell]:
        return self.passed - self.failed


def main() -> int:
    """Run the laws, write the document; 1 if a cell that is claimed was not proved."""
    recorder = Recorder()
    laws = str(Path(__file__).parent / "test_function_laws.py")
    pytest.main(
        [
            "-q",
            "-n0",
            "-p",
            "no:cacheprovider",
            laws,
            "--deselect",
            "tests/laws/test_function_laws.py::test_the_document_is_what_the_tables_claim",
        ],
        [recorder],
    )
    missing = claimed(CASES) - recorder.proved
    DOCUMENT.write_text(document(recorder.proved), encoding="utf-8", newline="\n")
    print(
        f"{DOCUMENT.name}: {len(recorder.proved)} cells proved",
        *[f"not proved: {'.'.join(cell)}" for cell in sorted(missing)],
        sep="\n",
    )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
