"""Native groups with reductions: softmax, norms and losses in a few passes over each line, with eager code's results to rounding."""

import os
import shutil
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.compiler.running import blocks
from fdezero.testing import assert_trees_close

from .line_programs import LineProgram, line_programs

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which(os.environ.get("CXX", "c++")) is None,
    reason="no C++ compiler, or Windows, where native loops are untried: they are tested where there is one",
)
RNG = np.random.default_rng(7)


def groups_of(compiled: Any) -> list[Any]:
    """The groups with reductions in the last program."""
    instructions = compiled.recordings[-1].program.executable.graph.instructions
    return [i.operation for i in instructions if getattr(i.operation, "schedule", None) is not None]


def assert_alike(actual: Any, expected: Any) -> None:
    for y, like in zip(fd.tree.leaves(actual), fd.tree.leaves(expected), strict=True):
        assert (np.shape(y), getattr(y, "dtype", None)) == (np.shape(like), getattr(like, "dtype", None))
        if np.size(like):
            tolerance = 3000 * np.finfo(like.dtype).eps * max(1.0, float(np.max(np.abs(like))))
            np.testing.assert_allclose(y, like, rtol=0, atol=tolerance)


def outputs_of(all_programs: list[LineProgram], arguments: list[Any]) -> list[Any]:
    return [program.run(*given) for program, given in zip(all_programs, arguments, strict=True)]


@settings(
    max_examples=max(5, settings().max_examples // 8), phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    st.sampled_from(["float32", "float64"]).flatmap(
        lambda dtype: st.lists(line_programs(dtype), min_size=2, max_size=3)
    ),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_random_programs_with_reductions(programs: list[LineProgram], threads: int, seed: int) -> None:
    """Values, and gradients by all floating arguments; several programs in one, because the C++ compiler takes the time."""

    def value(floating: Any, masks: Any) -> Any:
        outputs = outputs_of(programs, [[*xs, mask] for xs, mask in zip(floating, masks, strict=True)])
        return sum(fnp.mean(fnp.cos(y)) for y in fd.tree.leaves(outputs)), outputs

    function = fd.value_and_grad(value, has_aux=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SHARE", 8)
        compiled = fd.compile(function, native=True, threads=threads)
        for k in (seed, seed + 1):
            arguments = [program.arguments(k) for program in programs]
            given = [xs[:-1] for xs in arguments], [xs[-1] for xs in arguments]
            assert_alike(compiled(*given), function(*given))


def normalised(x: Any) -> Any:
    """A norm as a user writes it."""
    rest = x - fnp.mean(x, axis=-1, keepdims=True)
    return rest / fnp.sqrt(fnp.mean(rest * rest, axis=-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "layer_norm", "normalised", "rms_norm"])
def test_a_value_and_its_gradient_are_one_group(name: str) -> None:
    f = {"normalised": normalised}.get(name) or getattr(F, name)
    x, t = RNG.standard_normal((2, 6, 40)).astype(np.float32)
    function = fd.value_and_grad(lambda x, t: fnp.mean(f(x) * t))
    compiled = fd.compile(function, native=True)
    compiled(x, t)
    assert_trees_close(compiled(x, t), function(x, t), tolerance=1e-5)
    assert [len(group.body.inputs) for group in groups_of(compiled)] == [2]
