"""`pytest --gradients`: what is drawn and checked, the report, several processes, and nothing at all without the option."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest

import fdezero as fd
from fdezero.testing import arrays, check_gradient, check_grads, findings, given, given_gradients, gradient_test, plugin

from ..profiles import nightly

pytest_plugins = ["pytester"]
few = hypothesis.settings(max_examples=3, database=None, derandomize=True, report_multiple_bugs=False, phases=[hypothesis.Phase.generate])
X = arrays(shape=(2,))
IS_INSTALLED = any(entry.value == plugin.__name__ for entry in importlib.metadata.entry_points(group="pytest11"))
PLUGIN = () if IS_INSTALLED else ("-p", plugin.__name__)
OPTIONS = (*PLUGIN, "-p", "no:cacheprovider", "-W", "error")
PROJECT = """
import hypothesis, numpy as np
from fdezero.testing import arrays, check_gradient, gradient_test
few = hypothesis.settings(max_examples=3, database=None, derandomize=True)
test_sin = few(gradient_test(np.sin, arrays(shape=(2,))))
def test_wrong():
    check_gradient(lambda x: np.sum(x**2), lambda x: x, np.ones(2))
def test_message():
    left, right = [1, 2], [1, 3]
    assert left == right
"""


@pytest.fixture
def gathered(request: pytest.FixtureRequest) -> Any:
    """What is gathered at the level of the parameter."""
    running = findings.start(request.param)
    yield running
    findings.stop(running)


at = lambda level: pytest.mark.parametrize("gathered", [level], indirect=True)


def calls(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """The orders of the calls of `check_grads` in one test by given_gradients."""
    orders: list[int] = []
    check = given.check_grads
    monkeypatch.setattr(given, "check_grads", lambda f, args, order, **rest: orders.append(order) or check(f, args, 1, **rest))
    settings = hypothesis.settings(few, max_examples=options.pop("max_examples", 3))
    settings(gradient_test(np.sin, X, vmap=False, compiled=False, **options))()
    return orders


def test_without_a_level_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls(monkeypatch) == [2] * 3
    assert calls(monkeypatch, order=1) == [1] * 3
    assert findings.note(np.sin, "sin") is None


@at("quick")
def test_quick_draws_few_examples_of_the_first_order(gathered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert calls(monkeypatch, max_examples=20) == [1] * 5
    assert calls(monkeypatch, order=3) == [1] * 3
    assert sum(gathered.examples.values()) == 8


@at("full")
def test_full_draws_more_and_never_exceeds_an_order_that_is_stated(gathered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathered.level.examples(100) == 500
    assert gathered.level.examples(1000) == 1000
    gathered.level = gathered.level._replace(least=6)
    assert calls(monkeypatch) == [3] * 6
    assert calls(monkeypatch, order=2, layouts=False) == [2] * 6


def reads_memory(x: Any) -> Any:
    return x * (1.0 if not isinstance(x, np.ndarray) or x.flags.c_contiguous else 1.5)


def test_layouts_are_checked_if_asked_for_and_at_the_full_level() -> None:
    square = arrays(shape=(2, 2), min_value=1)
    options: Any = {"vmap": False, "compiled": False, "order": 1}
    few(gradient_test(reads_memory, square, **options))()
    with pytest.raises(AssertionError, match="breaks 'memory layouts change nothing': values of F arguments differ"):
        few(gradient_test(reads_memory, square, layouts=True, **options))()
    running = findings.start("full")
    try:
        with pytest.raises(AssertionError, match="memory layouts change nothing"):
            few(gradient_test(reads_memory, square, **options))()
    finally:
        findings.stop(running)


@at("quick")
def test_settings_of_a_level_do_not_stay(gathered: Any) -> None:
    seen: list[Any] = []

    @given_gradients(np.sin, X, vmap=False, compiled=False)
    def test(x: Any) -> None:
        seen.append(x)

    test()
    assert len(seen) == 5
    findings.stop(gathered)
    try:
        hypothesis.settings(few, max_examples=7)(test)()
        assert len(seen) == 12
    finally:
        findings._running.append(gathered)


def double(x: Any) -> Any:
    return 2 * x


@at("quick")
def test_the_table_has_the_worst_error_of_each_function(gathered: Any) -> None:
    check_grads(double, (np.ones(2),), order=2)
    check_grads(double, (np.ones(2, np.float32),), order=1, tolerance=0.5)
    wrong = fd.custom_vjp(lambda x: x**2)
    wrong.defvjp(lambda x: (x**2, x), lambda x, t: (3 * t * x,))
    wrong.__name__ = "wrong"
    with pytest.raises(AssertionError):
        check_grads(wrong, (np.array([1.0, 4.0]),))
    with pytest.raises(AssertionError):
        check_gradient(lambda p: np.sum(p["a"] ** 2), lambda p: {"a": p["a"]}, {"a": np.array([1.0, 2.0])})
    check_gradient(np.sum, np.ones_like, np.zeros(600))
    heads, *rows = gathered.table()
    assert heads.split() == "worst error allowed function mode order by where examples test".split()
    assert [row.endswith("WRONG") for row in rows] == [True, True, False, False]
    assert any("wrong" in row and "argument 0[1]" in row and "4.4e-01" in row for row in rows[:2])
    assert any("<lambda>" in row and "a[1]" in row and " gradient " in row for row in rows[:2])
    assert any(row.split()[2] == "double" and "  2  " in row for row in rows[2:])  # two examples
    assert any("seed 0" in row for row in rows[2:])
    assert all("test_plugin.py::test_the_table" in row for row in rows)


def test_functions_of_one_name_are_told_apart() -> None:
    gathered = findings.Findings(findings.USUAL)
    finding = findings.Finding(1e-9, 1e-8, "forward", 1, "complex step", "output", "")
    gathered.add("f of a.py:1", finding, 1)
    gathered.add("f of b.py:2", finding._replace(error=float("nan")), 1)
    gathered.add("g of b.py:3", finding._replace(allowed=0.0, error=0.0), 4)
    rows = [row.split("  ") for row in gathered.table()[1:]]
    assert [[cell for cell in row if cell][2] for row in rows] == ["f of b.py:2", "f of a.py:1", "g"]


def test_findings_of_other_processes_are_merged() -> None:
    running = [findings.Findings(findings.USUAL) for _ in range(2)]
    for number, one in enumerate(running):
        one.add("f of a.py:1", findings.Finding(1e-9 * (number + 1), 1e-8, "forward", 1, "complex step", "output", "t"), 3)
    running[0].merge(running[1].plain())
    assert running[0].examples == {"f of a.py:1": 6}
    assert running[0].worst["f of a.py:1"].error == 2e-9


def test_a_worker_sends_and_a_controller_receives() -> None:
    session = SimpleNamespace()
    sending, receiving = (plugin._Reporter(SimpleNamespace(), "full") for _ in range(2))
    try:
        sending.findings.add("f of a.py:1", findings.Finding(1e-9, 1e-8, "forward", 1, "complex step", "output", "t"), 3)
        sending.config.workeroutput = {}
        sending.pytest_sessionfinish(session)
        receiving.pytest_sessionfinish(session)  # a controller sends nothing
        receiving.pytest_testnodedown(SimpleNamespace(workeroutput=sending.config.workeroutput), None)
        receiving.pytest_testnodedown(SimpleNamespace(), None)  # a worker that crashed
        assert receiving.findings.plain() == sending.findings.plain() != []
    finally:
        sending.pytest_unconfigure()
        receiving.pytest_unconfigure()
    assert findings.level() is findings.USUAL


@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "1"), marks=nightly)], ids=["one process", "worker"])
def test_the_report_of_a_project(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(PROJECT)
    result = pytester.runpytest_inprocess(*OPTIONS, "--gradients=quick", *workers)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*assert *1, 2] == *1, 3]*", "*At index 1 diff: 2 != 3*", "*gradients (quick): the worst error of each function*", "worst error  allowed  function *",
                                 "*1e-08 *<lambda> * gradient *x[[]0[]] *1 *test_wrong  WRONG", "*1e-08 *sin * 3 *test_sin"])  # fmt: skip
    assert findings.level() is findings.USUAL


def test_without_the_option_a_project_sees_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROJECT)
    result = pytester.runpytest_inprocess(*OPTIONS, "-k", "sin")
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.no_fnmatch_line("*worst error*")
    result = pytester.runpytest_inprocess(*OPTIONS, "-k", "message", "--gradients=full")
    result.stdout.fnmatch_lines(["*gradients (full)*", "no gradient was checked"])
    assert "invalid choice: 'some'" in pytester.runpytest_inprocess(*OPTIONS, "--gradients=some").stderr.str()


def test_pytest_loads_the_plugin_and_nothing_else() -> None:
    code = "import pytest, sys; before = set(sys.modules); import fdezero.testing.plugin; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["fdezero", "fdezero.testing", "fdezero.testing.plugin"]


def test_the_extra_is_enough() -> None:
    """With the packages of the extra `testing`, and the standard library, and nothing else."""
    code = """
import sys
allowed = {*sys.stdlib_module_names, "fdezero", "numpy", "attr", "attrs", "optree", "typing_extensions", "hypothesis", "sortedcontainers", "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "_hypothesis_globals"}
class Others:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Others())
import hypothesis, numpy as np
import fdezero.testing as t, fdezero.testing.plugin
few = hypothesis.settings(max_examples=2, stateful_step_count=3, database=None, deadline=None)
few(t.gradient_test(lambda p, A: np.tanh(A @ p["x"]), t.pytrees(t.arrays(shape=(2,))).map(lambda x: {"x": np.ones(2), "rest": x}), t.positive_definite(2)))()
few(t.gradient_test(lambda pair: pair[0](pair[1]), t.layers(["Linear"])))()
t.check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, [1.0, 2.0], hess=lambda x: 2 * np.eye(2))
for machine in (t.TreeMachine, t.CheckpointMachine):
    hypothesis.stateful.run_state_machine_as_test(machine, settings=few)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"scipy", "matplotlib", "cupy", "torch", "jax", "safetensors"}))
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


def test_the_extra_has_what_the_strategies_and_the_plugin_import() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [re.split(r"\W", name)[0] for name in project["optional-dependencies"]["testing"]] == ["hypothesis", "pytest"]
    assert project["entry-points"]["pytest11"] == {"fdezero": plugin.__name__}
