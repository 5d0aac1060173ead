"""`training.progress`: what it shows where, how it adds up metrics, and when it looks at numbers."""

import io
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import training
from fdezero.errors import MissingExtraError, RangeError, StructureError
from fdezero.training import bars

BATCHES = [(np.zeros((n, 3), np.float32), np.zeros(n, int)) for n in (4, 4, 2)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time that `progress` sees, in seconds."""
    now = [100.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)


def test_without_a_terminal_there_is_a_line_every_ten_seconds(clock: list[float]) -> None:
    out = io.StringIO()
    for batch in (bar := training.progress(BATCHES * 4, "epoch 1", file=out)):
        bar.show({"loss": np.float32(len(batch[0]))})
        clock[0] += 3
    lines = out.getvalue().splitlines()
    assert lines == [
        f"epoch 1, step {n} of 12, loss: {loss}, {3 * n} s" for n, loss in ((4, "3.7143"), (8, "3.7143"), (12, "3.6000"))
    ]
    assert bar.results() == {"loss": pytest.approx(3.6)}
    assert (bar.count, bar.seconds) == (12, 36)


def test_on_a_terminal_without_tqdm_a_line_is_written_over(clock: list[float], no_tqdm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for leave, end in ((True, "\n"), (False, "\r" + " " * 27 + "\r")):
        out = Terminal()
        for number, _ in enumerate(bar := training.progress(BATCHES, file=out, leave=leave)):
            bar.show({"loss": 10.0 ** (2 - number)})
            clock[0] += 1
        first, *shown = out.getvalue().split("\r")[1:5]
        assert (first, shown[0]) == ("step 0 of 3, 0 s", "step 1 of 3, loss: 100, 1 s")
        assert out.getvalue().endswith("step 3 of 3, loss: 44.2000, 3 s" + end) or not leave


def test_on_a_terminal_it_is_a_bar_of_tqdm(clock: list[float]) -> None:
    pytest.importorskip("tqdm")
    out = Terminal()
    for _ in (bar := training.progress(iter(BATCHES), "epoch 1", total=3, file=out)):
        bar.show({"loss": 0.25, "heads": {"a": 1234.5}})
        clock[0] += 1
    shown = out.getvalue()
    assert shown.lstrip("\r").startswith("epoch 1:   0%|")
    assert "| 1/3 [" in shown
    assert "loss: 0.2500, heads/a: 1234]" in shown.replace("1235", "1234")
    assert "100%|" in shown
    assert shown.endswith("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_terminal_that_does_not_know_its_size_shows_the_bar() -> None:
    pytest.importorskip("tqdm")
    import pty

    code = "from fdezero import training\nfor _ in (bar := training.progress([1, 2], 'epoch 1')): bar.show({'loss': 0.5})"
    ours, theirs = pty.openpty()  # 0 x 0
    try:
        subprocess.run([sys.executable, "-c", code], stdout=theirs, stderr=theirs, check=True)
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "epoch 1: 100%|" in shown
    assert "loss: 0.5000]" in shown


def test_in_a_notebook_it_is_the_bar_of_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Widget:
        __module__ = "tqdm.notebook"
        n = 0

        def __init__(self, **options: Any) -> None:
            assert options["file"] is not None
            self.options, self.postfix = options, ""
            made.append(self)

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            self.postfix = text

        def update(self, steps: int) -> None:
            self.n += steps

        def refresh(self) -> None:
            self.refreshed = True

        def close(self) -> None:
            self.closed = True

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]  # stands for the module
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Widget))  # type: ignore[arg-type]  # stands for the module
    for _ in (bar := training.progress(BATCHES, "epoch 2", file=io.StringIO())):
        bar.show({"loss": 0.5})
    (widget,) = made
    assert (widget.options["desc"], widget.options["total"], widget.n, widget.postfix) == ("epoch 2", 3, 3, "loss: 0.5000")
    assert widget.refreshed
    assert widget.closed


def test_numbers_are_looked_at_when_a_line_is_due_and_not_before(clock: list[float]) -> None:
    looked: list[int] = []

    class Watched(training.Mean):
        def result(self) -> Any:
            looked.append(bar.count)
            return super().result()

    for _ in (bar := training.progress([*range(100)], interval=30, file=io.StringIO())):
        bar.show({"loss": Watched().update(1.0)})
        clock[0] += 1
    assert looked == [30, 60, 90, 100]


def test_numbers_on_a_device_stay_there_until_a_line_is_due(strict_cupy: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(bars, "results", lambda found: looked.append(found) or training.results(found))
    loss = fd.to_device(np.float32(0.5), "gpu")
    for _ in (bar := training.progress(BATCHES, file=io.StringIO())):
        bar.show({"loss": loss})
        assert not looked
    assert fd.device_of(looked[0]) == "gpu:0"
    assert bar.results() == {"loss": 0.5}


def test_results_are_those_of_all_examples_whatever_the_sizes_of_batches() -> None:
    labels = np.arange(10) % 3
    scores = np.eye(3)[(np.arange(10) + (np.arange(10) > 6)) % 3]
    out = io.StringIO()
    for x, t in (bar := training.progress([(scores[:4], labels[:4]), (scores[4:], labels[4:])], file=out)):
        bar.show({"share": np.mean(x.argmax(1) == t), "accuracy": training.Accuracy().update(x, t), "none": {"n": float(len(x))}})
    found = bar.results()
    assert found["share"] == pytest.approx(found["accuracy"], rel=1e-15) == pytest.approx(0.7)
    assert found["none/n"] == pytest.approx(0.4 * 4 + 0.6 * 6)
    for _ in (bar := training.progress([1.5, 2.5], style="none")):  # batches without examples count alike
        bar.show({"loss": bar.count})
    assert bar.results() == {"loss": 0.5}


def test_the_nan_of_a_batch_without_examples_counts_nothing() -> None:
    bar = training.progress([(np.ones(2),), (np.ones(0),), (np.ones(1),)], style="none")
    for _, loss in zip(bar, (1.0, np.nan, 4.0), strict=True):
        bar.show({"loss": np.float32(loss), "other": {"loss": np.float32(loss)}})
    assert bar.results() == {"loss": 2.0, "other/loss": 2.0}


def test_a_matrix_is_a_result_and_is_not_shown() -> None:
    out = io.StringIO()
    for _, t in (bar := training.progress(BATCHES, file=out)):
        bar.show({"matrix": training.ConfusionMatrix(3).update(t, t), "loss": 1.0})
    assert bar.results()["matrix"][0, 0] == 10
    assert "matrix" not in out.getvalue()
    assert "loss: 1.0000" in out.getvalue()


def test_an_epoch_that_goes_on_is_counted_from_there(clock: list[float]) -> None:
    out = io.StringIO()
    bar = training.progress(BATCHES, start=7, file=out)
    assert len(bar) == 3
    for _ in bar:
        clock[0] += 11
    assert out.getvalue().splitlines()[0] == "step 8 of 10, 11 s"


def test_the_display_ends_with_the_loop(no_tqdm: None) -> None:
    out = Terminal()
    for _ in training.progress(BATCHES, file=out):
        break
    assert out.getvalue().endswith("\n")
    out = Terminal()
    with pytest.raises(ZeroDivisionError):
        sum(1 / len(x) - 1 / 0 for x, _ in training.progress(BATCHES, file=out))
    assert out.getvalue().endswith("\n")
    training.progress(BATCHES, style="none").show({"loss": 1.0})


@pytest.mark.parametrize("style", ["auto", "lines", "none"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_lines_of_ones_own_stand_above_the_display(style: str, stream: Any) -> None:
    out = stream()
    for _ in (bar := training.progress(BATCHES, "epoch 1", style=style, file=out)):
        bar.write("a line")
    lines = [line.rpartition("\r")[2].strip() for line in out.getvalue().splitlines()]
    assert lines.count("a line") == 3
    bar.write("after")
    assert out.getvalue().endswith("after\n")


def test_a_line_of_ones_own_takes_the_place_of_the_one_that_is_written_over(clock: list[float], no_tqdm: None) -> None:
    out = Terminal()
    for _ in (bar := training.progress([1], file=out)):
        bar.write("a")
        bar.write("b")
        clock[0] += 1
    assert out.getvalue() == "\rstep 0 of 1, 0 s\ra               \nb\n\rstep 1 of 1, 1 s\rstep 1 of 1, 1 s\n"
    out = Terminal()
    batches = iter(bar := training.progress([1, 2], file=out))
    next(batches)
    bar.write("a")
    del batches
    assert out.getvalue().endswith("\ra               \n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"), (-0.5, "-0.5000"), (0.01, "0.0100"), (0.00999, "0.00999"), (-1e-5, "-1e-05"), (99.9999, "99.9999"), (100.0, "100"),
        (123456.0, "1.235e+05"), (0.0, "0"), (float("nan"), "nan"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_numbers_are_shown_with_few_digits(value: float, text: str) -> None:
    assert bars.shown(value) == text


def test_a_second_loop_begins_again() -> None:
    bar = training.progress(BATCHES, style="none")
    for value in (1.0, 2.0):
        for _ in bar:
            bar.show({"loss": value})
        assert bar.results() == {"loss": value}


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: training.progress(BATCHES, style="dots"), RangeError, "style is one of 'auto', .* got 'dots'"),
        (lambda: training.progress(BATCHES, interval=-1), RangeError, "number of seconds, 0 or more; got -1"),
        (lambda: training.progress(3), StructureError, r"batches to iterate over, such as loader.epoch\(0\); got int 3"),  # type: ignore[arg-type]  # on purpose
        (lambda: len(training.progress(iter(BATCHES))), TypeError, r"Pass total=len\(loader\)"),
        (lambda: training.progress([], style="none").show(0.5), StructureError, r'\{"loss": loss\}; got float 0.5'),  # type: ignore[arg-type]  # on purpose
        (lambda: training.progress([], style="none").show({"loss": np.ones(3)}), StructureError, r"the metric 'loss' is float64\[3\], not a number"),
        (lambda: training.progress([], style="none").show({"a": {"loss": None}}), StructureError, r"the metric 'a/loss' is NoneType, not a number"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(make: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_other_names_than_before_are_refused() -> None:
    bar = training.progress([], style="none")
    bar.show({"loss": 1.0})
    with pytest.raises(StructureError, match="the same names: first loss; now loss, accuracy"):
        bar.show({"loss": 1.0, "accuracy": 0.5})


def test_a_bar_without_tqdm_names_the_extra(no_tqdm: None) -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "fdezero\[progress\]"'):
        training.progress(BATCHES, style="bar")
