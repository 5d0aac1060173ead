"""Properties of functions of other frameworks, with a toy framework: right code passes, planted faults are found by the property they break."""

import re
from typing import Any

import hypothesis
import numpy as np
import pytest

from fdezero.errors import DTypeError, MissingExtraError, RangeError, StructureError
from fdezero.testing import arrays, check_grads, given_gradients, gradient_test
from fdezero.testing.backends import Backend, backend_named

from .toy_backend import Rule, Toy

few = hypothesis.settings(max_examples=2, database=None, derandomize=True, report_multiple_bugs=False, phases=[hypothesis.Phase.generate])
X = np.array([[0.3, -1.1, 2.0], [1.0, 0.5, -0.7]])
MATRIX = arrays(shape=(2, 3), min_value=0.5, distinct=True)


def product(x: Any, y: Any) -> Any:
    return {"y": np.sin(x) * y, "n": 3}


def broken(backend: Backend, function: Any = product, *strategies: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        few(gradient_test(function, *(strategies or (MATRIX, MATRIX)), backend=backend, order=1, **options))()
    return str(caught.value)


def test_right_code_passes_every_property() -> None:
    few(gradient_test(product, MATRIX, MATRIX, backend=Toy(), reference=lambda x, y: {"y": np.sin(x) * y, "n": 3}))()
    few(gradient_test(lambda p, s: p["a"] * p["b"][0] * s, hypothesis.strategies.fixed_dictionaries({"a": MATRIX, "b": hypothesis.strategies.tuples(MATRIX, arrays(np.int64, (2, 3)))}), hypothesis.strategies.just(2.5), backend=Toy(), order=1))()
    few(gradient_test(lambda z: z * np.conj(z), arrays(np.complex128, (2,)), backend=Toy(), order=1))()


def test_the_body_gets_arrays_and_constants() -> None:
    seen = []

    @few
    @given_gradients(lambda x, n: x**n, MATRIX, hypothesis.strategies.just(2), backend=Toy(), order=1)
    def test(x: Any, n: int) -> None:
        seen.append((type(x), n))

    test()
    assert set(seen) == {(np.ndarray, 2)}


def scaled(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    return [1.01 * g for g in gradients]


def in_place(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    ts[-1] *= 2
    return gradients


def writes(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    xs[0][...] += 1
    return gradients


def one_of_two(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    return gradients if 0 in which else [0 * g for g in gradients]


def narrow(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    return [g.astype(np.float64) for g in gradients]


def not_empty(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    if not gradients[0].size:
        raise ValueError("cannot reshape")
    return gradients


def contiguous(gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
    return gradients if ts[-1].flags.c_contiguous else [g[::-1] for g in gradients]


class Drifting:
    """A rule whose result depends on how often it ran."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, gradients: Any, ts: Any, xs: Any, which: Any) -> Any:
        self.calls += 1
        return [g * (1 + self.calls / 1e3) for g in gradients]


class Remembering(Toy):
    """A framework whose backward pass uses the inputs of the last call, as a rule that keeps them on itself does."""

    def vjp(self, run: Any, xs: Any, which: Any) -> Any:
        self.xs = xs
        ys, _ = super().vjp(run, xs, which)
        return ys, lambda ts: super(Remembering, self).vjp(run, self.xs, which)[1](ts)


class Randomly(Toy):
    """A framework whose function draws its mask on each call, as dropout does; at zeros its value does not show that."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def vjp(self, run: Any, xs: Any, which: Any) -> Any:
        self.calls += 1
        factor = self.calls
        ys, pullback = super().vjp(run, xs, which)
        return ys, lambda ts: [g * factor for g in pullback(ts)]


class Unbatched(Toy):
    """A framework with a wrong batching rule: it takes the first example for all."""

    def vmap(self, run: Any, axes: Any) -> Any:
        batched = super().vmap(run, axes)
        return lambda xs: [y[:1] * np.ones_like(y) for y in batched(xs)]


class Miscompiled(Toy):
    def compile(self, run: Any) -> Any:
        return lambda xs: [y + 1 for y in super(Miscompiled, self).compile(run)(xs)]


FAULTS: dict[str, tuple[Any, str]] = {
    "gradients": (Rule(scaled), "breaks 'gradients are right': reverse mode of order 1 is wrong"),
    "cotangent": (Rule(in_place), "breaks 'inputs are left alone': the gradient wrote into its cotangent .grad_output."),
    "arguments": (Rule(writes), "breaks 'inputs are left alone': the arguments differ.*after the gradient"),
    "passes": (Rule(Drifting()), "breaks 'inputs are left alone': gradients of two backward passes"),
    "calls": (Randomly(), r"breaks 'inputs are left alone': gradients of two calls with the same arguments .fix the seed"),
    "state": (Remembering(), "breaks 'inputs are left alone': gradients of a call after which the function was called with other arguments"),
    "alone": (Rule(one_of_two), "breaks 'each gradient alone is that of all together': the gradients of argument 1 differ"),
    "dtypes": (Rule(narrow), "breaks 'dtypes are kept': the gradient at 0 is float64, but its argument is float32"),
    "empty": (Rule(not_empty), r"breaks 'what takes arrays of size zero.*shapes \(0, 3\), \(0, 3\), but its gradient there fails: ValueError: cannot reshape"),
    "layouts": (Rule(contiguous), "breaks 'memory layouts change nothing': gradients for a cotangent .grad_output. that is transposed"),
    "vmap": (Unbatched(), "breaks 'vmap is a loop': values, batched over argument 0, 1, differ"),
    "compiled": (Miscompiled(), "breaks 'compiled is eager': values differ"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_its_property(name: str) -> None:
    backend, words = FAULTS[name]
    message = broken(backend)
    assert re.search(words, message, re.DOTALL), message


def test_examples_of_equal_shapes_and_constants_are_compiled_once() -> None:
    class Counting(Toy):
        count = 0

        def compile(self, run: Any) -> Any:
            Counting.count += 1
            return super().compile(run)

    several = hypothesis.settings(few, max_examples=6)
    several(gradient_test(lambda x, n: x * n, MATRIX, hypothesis.strategies.just(2.0), backend=Counting(), order=1, compiled=True))()
    assert Counting.count == 1
    several(gradient_test(lambda x, n: x * n[0], MATRIX, hypothesis.strategies.sampled_from([[2.0], [3]]), backend=Counting(), order=1, compiled=True))()
    assert Counting.count == 3


def test_widened_values_are_found() -> None:
    assert "the output is float64, but the widest argument has 32 bits" in broken(Toy(), lambda x: x * np.ones(3), MATRIX)


def test_a_function_of_double_precision_alone_passes() -> None:
    def double(x: Any) -> Any:
        if x.dtype != np.float64:
            raise TypeError("float64 alone")
        return np.sin(x)

    few(gradient_test(double, MATRIX, backend=Toy(), order=1, vmap=False, compiled=False))()


def test_what_is_not_offered_is_skipped_unless_it_is_demanded() -> None:
    toy = Toy("fwd", "vmap", "compiled")
    few(gradient_test(product, MATRIX, MATRIX, backend=toy, order=1))()
    assert "does not offer forward mode: forward mode of order 1: no fwd here" in broken(toy, offers=["fwd"])
    assert "does not offer 'vmap': no vmap here" in broken(toy, offers=["vmap"])
    assert "does not offer 'compiled': no compiled here" in broken(toy, offers=["compiled"])
    assert "does not offer second derivatives: it was not asked" in broken(Toy(), offers=["second"])
    assert "offers no derivative: forward mode of order 1: no fwd here; reverse mode" in broken(Toy("fwd", "rev"))
    report = repr(check_grads(product, (X, X), backend=toy))
    assert report == "right by complex step: reverse mode to order 2; not offered: forward mode of order 1: no fwd here"


def test_misuse_is_told() -> None:
    with pytest.raises(RangeError, match="backend must be 'torch', 'jax' or None, which stands for functions of NumPy and fdezero, got 'tensorflow'"):
        gradient_test(product, MATRIX, MATRIX, backend="tensorflow")
    with pytest.raises(RangeError, match="got int 3"):
        backend_named(3)
    with pytest.raises(RangeError, match="offers must be a list of 'fwd', 'rev', 'second', 'vmap', 'compiled', got 'fwd'"):
        gradient_test(product, MATRIX, MATRIX, backend=Toy(), offers="fwd")
    with pytest.raises(RangeError, match="offers belongs to a backend"):
        gradient_test(product, MATRIX, MATRIX, offers=["fwd"])
    with pytest.raises(DTypeError, match="Python numbers are constants here"):
        check_grads(np.sin, (2.0,), backend=Toy())
    with pytest.raises(StructureError, match="returned str. With backend='toy', return its arrays"):
        check_grads(lambda x: "y", (X,), backend=Toy())


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_missing_framework_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"fdezero.testing.backends.of_{name}", raising=False)
    with pytest.raises(MissingExtraError, match=f"which cannot be imported here .*pip install {name}. A function of NumPy needs no backend"):
        backend_named(name)


def test_kinks_see_all_arguments() -> None:
    function = lambda x, n: np.abs(x) * n
    report = check_grads(function, (np.zeros(3), 2), backend=Toy(), kinks=lambda x, n: x * n)
    assert repr(report) == "nothing checked: declared by kinks"
