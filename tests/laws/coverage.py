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
    functions_normalisation,
    functions_parameters,
    functions_pooling,
    functions_recurrent,
    functions_shapes,
    functions_signal,
    functions_special,
    kinks,
    layer_row,
)
from .cases import IN_HALF, PROPERTIES, Case
from .layer_row import Row
from .layers import LAYERS

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
    functions_normalisation,
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
NN = "nn"
BY_ORDER = {"derivatives", "reverse", "forward"}  # properties up to an order
LAWS = ("test_function_laws.py", "test_precision_laws.py", "test_layer_laws.py")
Cell = tuple[str, str, str]  # module, function or layer, property

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

`python -m tests.laws.coverage` writes these tables from the laws that ran and passed. A mark (✓ or a number) says that every case of the
function, or every row of the layer, that can have the property was tested and has it. A dash (—) says that the property does not apply:
there is no derivative (integers or truth values), the shape depends on values (no `vmap`, no `compile`), no argument is an array, or no
case is complex.

- **reverse**, **forward**: derivatives agree with differences or the complex step, up to the order in the table. Higher orders follow
  from the same rules.
- **vmap**: batching over all arguments, and over each alone, agrees with a loop.
- **compiled**: each of three calls returns the bits of eager code, values and gradients.
- **CPU**: values and dtypes are those of NumPy, of SciPy, or of a formula in NumPy.
- **stand-in**: values and gradients of GPU arrays are those of the CPU, and stay on the device. Machines without a GPU prove it on a
  stand-in for CuPy that refuses what CuPy refuses; the tests use CuPy itself where they find a GPU.
- **complex**: all of these laws hold for complex arguments; gradients are df/dx + i df/dy.
- **float16**: values and gradients are those of float64, rounded once to float16 (for sums of products, relative to the largest entry).
  The same holds for bfloat16.
"""

OF_LAYERS = """
## fdezero.nn

All of it holds in training and in inference.

- **derivatives**: the gradients of all parameters and inputs agree with differences, up to the order in the table.
- **vmap**: batching over layers, over examples, and over both agrees with a loop; `vmap` also draws and runs ensembles.
- **compiled**: the bits of eager code, results, gradients and statistics.
- **CPU**: the layer leaves its arrays, and those of its input, as they were.
- **stand-in**: results and gradients of GPU arrays are those of the CPU, as above.
- **float16**: results, gradients and statistics keep the dtype float16, bfloat16 or float32.
- **saved**: the layer comes back from a file, and computes the same bits.
- **keys**: each random key is used once.

"""


def claimed(cases: Iterable[Case]) -> set[Cell]:
    """The cells that the tables claim."""
    functions = {(case.module, case.name, claim) for case in cases for claim in case.claims}
    return functions | {(NN, row.name, claim) for row in LAYERS for claim in row.claims}


def _order(module: str, name: str) -> int:
    """The order up to which the derivatives of every case of a function, or every row of a layer, are compared."""
    rows = [row.order for row in LAYERS if row.name == name and row.order]
    return min(rows if module == NN else [case.order for case in CASES if (case.module, case.name) == (module, name) and case.argnums])


def _table(module: str, kind: str, names: Iterable[str], properties: tuple[str, ...], proved: set[Cell]) -> str:
    text = f"| {kind} | {' | '.join(properties)} |\n|---|{'---|' * len(properties)}\n"
    for name in sorted(set(names), key=lambda name: (name.lower(), name)):
        cells = [claim if (module, name, claim) in proved else None for claim in properties]
        marks = ["—" if claim is None else str(_order(module, name)) if claim in BY_ORDER else "✓" for claim in cells]
        text += f"| `{name}` | {' | '.join(marks)} |\n"
    return text


def document(proved: set[Cell]) -> str:
    """The document with a mark in every cell that is proved."""
    text = HEAD + OF_LAYERS + _table(NN, "layer", [row.name for row in LAYERS], layer_row.PROPERTIES, proved)
    for module, title in MODULES.items():
        properties = tuple(claim for claim in PROPERTIES if claim != "float16" or module in IN_HALF)
        text += f"\n## {title}\n\n" + _table(module, "function", [case.name for case in CASES if case.module == module], properties, proved)
    text += kinks.section()
    text += "\n## Not there\n\n`fdezero.numpy` does not have these functions of `jax.numpy` or `autograd.numpy`; use what stands beside them. It also lacks\n"
    text += "the arguments `weights=` of `quantile`, `mean=` of `var` and `std`, and `full=` and `cov=` of `polyfit`.\n\n"
    text += "| function | use instead |\n|---|---|\n"
    return text + "".join(f"| {', '.join(f'`{name}`' for name in names.split())} | {reason} |\n" for names, reason in MISSING.items())


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
            params: dict[str, Any] = item.callspec.params  # type: ignore[attr-defined]
            if "row" in params:
                outcomes = [(params["row"], report.outcome)] if report.failed or report.when == "call" else []
            elif report.failed and report.when != "call":  # a fixture failed: no case ran, or something went wrong after them
                outcomes = [(case, "failed") for case in params["case"]]
            for case, outcome in outcomes:
                self.record(case, mark.args, outcome)
        return report

    def record(self, case: Case | Row, claims: Iterable[str], outcome: str) -> None:
        """Record what a law that proves `claims` says about one case."""
        # All laws run on complex numbers, so one passing law does not prove a cell that another law denies.
        module, name = (NN if isinstance(case, Row) else case.module), case.name
        cells = {(module, name, claim) for claim in {*claims, "complex"} & case.claims}
        if outcome != "skipped":
            (self.failed if outcome == "failed" else self.passed).update(cells)

    @property
    def proved(self) -> set[Cell]:
        return self.passed - self.failed


def main() -> int:
    """Run the laws, write the document; 1 if a cell that is claimed was not proved."""
    recorder = Recorder()
    laws = [str(Path(__file__).parent / name) for name in LAWS]
    stale = "tests/laws/test_function_laws.py::test_the_document_is_what_the_tables_claim"
    pytest.main(["-q", "-n0", "-p", "no:cacheprovider", *laws, "--deselect", stale], [recorder])
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
