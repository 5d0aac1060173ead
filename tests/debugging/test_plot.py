"""`trace` and `plot`: the program with the user's lines, and drawings of it with and without Graphviz."""

import itertools
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.compiler.graph import validate
from fdezero.debugging.layout import arrange, boxes_of, to_svg
from fdezero.errors import FileError, MissingExtraError, TraceError

SVG = "{http://www.w3.org/2000/svg}"


def loss(w: Any, x: Any) -> Any:
    y = np.tanh(x @ w)
    return (y * y).sum()


W, X = np.ones((3, 2)), np.ones((4, 3))
FIRST = loss.__code__.co_firstlineno


class TestTrace:
    def test_the_program_and_its_lines(self) -> None:
        graph = validate(fd.trace(loss)(W, X))
        assert [i.name for i in graph.instructions] == ["matmul", "tanh", "multiply", "sum"]
        assert [i.line.number - FIRST for i in graph.instructions if i.line] == [1, 1, 2, 2]
        assert {i.line.path for i in graph.instructions if i.line} == {__file__}
        text = str(graph)
        assert text.startswith("def loss(w: float64[3,2], x: float64[4,3]):\n")
        assert f"v1: float64[4,2] = tanh(v0)  # test_plot.py:{FIRST + 1}\n" in text

    def test_a_backward_operation_has_the_line_of_the_forward_one(self) -> None:
        graph = fd.trace(fd.grad(loss))(W, X)
        rules = {i.line.rule: i.line.number - FIRST for i in graph.instructions if i.line and i.line.rule}
        assert rules == {"backward pass of matmul": 1, "backward pass of tanh": 1, "backward pass of multiply": 2}
        assert f"# test_plot.py:{FIRST + 1}, backward pass of tanh\n" in str(graph)

    def test_a_rule_within_a_rule_is_named(self) -> None:
        inner = fd.grad(fd.checkpoint(lambda x: np.sum(np.sin(x) * x)))
        graph = fd.trace(fd.grad(fd.checkpoint(lambda x: np.sum(inner(x) * x))))(np.ones(3))
        rules = {i.line.rule for i in graph.instructions if i.line and i.name == "cos"}
        assert rules == {"backward pass of sin in the backward pass of checkpoint"}

    def test_arguments_of_every_kind(self) -> None:
        model = nn.MLP.init(fd.random.key(0), (3, 4, 2))

        def run(model: Any, x: Any, n: int, *, scale: float) -> Any:
            return sum(model(x).sum() * scale for _ in range(n))

        graph = fd.trace(run, static=("n",))(model, X, 2, scale=2.0)
        assert graph.names == ("model_layers_0_W", "model_layers_0_b", "model_layers_1_W", "model_layers_1_b", "x", "scale")
        compiled = fd.compile(run, static=("n",))
        assert str(fd.trace(compiled)(model, X, 2, scale=2.0)) == str(graph)
        assert not compiled.recordings
        with pytest.raises(TraceError, match="the number"):
            fd.trace(run)(model, X, 2, scale=2.0)

    def test_it_shows_the_program_that_runs(self) -> None:
        compiled = fd.compile(fd.grad(loss))
        compiled(W, X)
        traced = str(fd.trace(fd.grad(loss))(W, X))
        assert re.sub(r":\d+$", "", str(compiled.graph), flags=re.MULTILINE) == re.sub(r":\d+$", "", traced, flags=re.MULTILINE)

    def test_a_loop_is_one_operation(self) -> None:
        graph = fd.trace(lambda x: fd.scan(lambda c, row: (c + row, c * row), x[0], x)[1])(X)
        assert "scan" in [i.name for i in graph.instructions]


def texts(path: Path) -> list[str]:
    return [t.text or "" for t in ET.parse(path).iter(f"{SVG}text")]


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.mark.usefixtures("without_dot")
class TestWithoutGraphviz:
    def test_svg(self, tmp_path: Path) -> None:
        path = fd.plot(loss)(W, X, to_file=tmp_path / "graph.svg")
        assert path == tmp_path / "graph.svg"
        found = texts(path)
        assert found.count("float64[4,2]") == 3
        assert {"w", "x", "float64[3,2]", "matmul", "tanh", "multiply", "sum"} <= set(found)
        titles = [t.text for t in ET.parse(path).iter(f"{SVG}title")]
        assert f"test_plot.py:{FIRST + 1}" in titles
        brief = texts(fd.plot(loss)(W, X, to_file=tmp_path / "brief.svg", verbose=False))
        assert {"w", "tanh", "v0"} <= set(brief)
        assert not any("float64" in text for text in brief)

    def test_every_edge_is_drawn_and_leads_down(self, tmp_path: Path) -> None:
        graph = fd.trace(fd.grad(loss))(W, X)
        edges = sum(len({a for a in i.inputs if a in graph.inputs or any(a in j.outputs for j in graph.instructions)}) + len(i.outputs) for i in graph.instructions)
        drawn = re.findall(r'<path d="M[\d.]+ ([\d.]+)C.* ([\d.]+)" fill="none"', to_svg(graph))
        assert len(drawn) == edges
        assert all(float(top) < float(bottom) for top, bottom in drawn)

    def test_boxes_do_not_overlap_and_hundreds_are_fine(self) -> None:
        def long(x: Any) -> Any:
            parts = [np.sin(x * i) for i in range(1, 80)]
            return sum(parts[1:], parts[0]).sum()

        boxes = boxes_of(fd.trace(fd.grad(long))(X), True)
        arrange(boxes)
        assert len(boxes) > 600
        rows: dict[int, list[Any]] = {}
        for box in boxes:
            assert box.x - box.width / 2 >= 0
            rows.setdefault(box.rank, []).append(box)
        for row in rows.values():
            row.sort(key=lambda box: box.x)
            assert all(a.x + a.width / 2 < b.x - b.width / 2 for a, b in itertools.pairwise(row))

    def test_html_is_one_self_contained_page(self, tmp_path: Path) -> None:
        text = fd.plot(loss)(W, X, to_file=tmp_path / "graph.html").read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>")
        assert "<svg" in text
        assert "v1: float64[4,2] = tanh(v0)" in text
        assert not re.search(r"(src|href)=", text)

    def test_dot(self, tmp_path: Path) -> None:
        text = fd.plot(loss)(W, X, to_file=tmp_path / "graph.dot").read_text(encoding="utf-8")
        assert text == fd.trace(loss)(W, X).to_dot() + "\n"
        assert '"w" [label="w\\nfloat64[3,2]"' in text
        assert '"w" [label="w",' in fd.trace(loss)(W, X).to_dot(verbose=False)

    def test_an_ending_that_cannot_be_made_says_what_to_install(self, tmp_path: Path) -> None:
        with pytest.raises(MissingExtraError, match=r"\.png needs Graphviz.*Install Graphviz"):
            fd.plot(loss)(W, X, to_file=tmp_path / "graph.png")
        with pytest.raises(FileError, match="needs an ending"):
            fd.plot(loss)(W, X, to_file=tmp_path / "graph")
        assert not list(tmp_path.iterdir())

    def test_a_region_is_one_box_and_names_are_escaped(self, tmp_path: Path) -> None:
        run = lambda x: fd.scan(lambda c, row: (c + row, c), x[0], x)[0].sum() if x.shape else x
        assert "scan" in texts(fd.plot(run)(X, to_file=tmp_path / "loop.svg"))
        graph = fd.trace(lambda x: x + 1)(X)
        object.__setattr__(graph, "name", '<a & "b">')
        assert ET.fromstring(to_svg(graph)).find(f"{SVG}title").text == '<a & "b">'  # type: ignore[union-attr]

    def test_a_function_of_constants_and_of_nothing(self) -> None:
        for graph in (fd.trace(lambda x: np.ones(2))(X), fd.trace(lambda: ())()):
            assert ET.fromstring(to_svg(graph)).tag == f"{SVG}svg"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for dot is a script that Windows does not run")
class TestWithGraphviz:
    def stand_in(self, folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
        """A fake program `dot` that prints its arguments and input."""
        folder.mkdir()
        program = folder / "dot"
        program.write_text(f"#!{sys.executable}\nimport sys\ntext = sys.stdin.read()\n{body}", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    @pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
    def test_dot_is_asked_for_the_format_of_the_ending(self, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in(tmp_path / "bin", monkeypatch, "open(sys.argv[3], 'w').write(' '.join(sys.argv[1:3]) + text)")
        path = fd.plot(loss)(W, X, to_file=str(tmp_path / f"graph.{ending}"))
        assert path.read_text(encoding="utf-8") == f"-T{ending} -o" + fd.trace(loss)(W, X).to_dot()

    def test_errors_of_dot_are_shown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in(tmp_path / "bin", monkeypatch, "sys.exit('Format: \"xyz\" not recognized.')")
        with pytest.raises(FileError, match=r"dot cannot draw graph\.xyz: Format"):
            fd.plot(loss)(W, X, to_file=tmp_path / "graph.xyz")


def test_the_drawing_of_a_training_step(tmp_path: Path) -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))

    def loss_fn(model: Any, x: Any, t: Any) -> Any:
        return F.softmax_cross_entropy(model(x), t)

    path = fd.plot(fd.value_and_grad(loss_fn))(model, X.astype(np.float32), np.zeros(4, int), to_file=tmp_path / "step.html")
    assert "backward pass of sigmoid" in path.read_text(encoding="utf-8")
