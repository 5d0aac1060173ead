"""How modules are shown: lines, indentation, sizes, what repeats, HTML with escapes; messages stay short."""

import functools
import html.parser
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import StructureError
from fdezero.testing import arrays, pytrees
from fdezero.testing.structures import Pair
from fdezero.tree.display import LONGEST, WIDTH, one_line, sizes

KEY = fd.random.key(0)


def test_small_modules_are_one_line() -> None:
    assert repr(nn.Linear.init(KEY, 4, 3)) == "Linear(W=float32[4,3], b=float32[3])"
    assert repr(nn.Linear.init(KEY, 4, 3, bias=False)) == "Linear(W=float32[4,3], b=None)"
    assert repr(nn.Dropout(0.5)) == "Dropout(rate=0.5)"  # an empty option says nothing
    assert repr(nn.Dropout(0.5, shared_axes=1)) == "Dropout(rate=0.5, shared_axes=1)"
    assert repr(nn.Sequential()) == "Sequential(layers=())"
    assert repr(nn.Sequential(F.relu)) == "Sequential(layers=(Function(relu),))"


def test_models_are_indented_with_their_size_on_top() -> None:
    model = nn.Sequential(nn.MLP.init(KEY, (784, 1000, 10)), functools.partial(F.leaky_relu, slope=0.1), lambda x: x)
    assert (
        repr(model)
        == """Sequential(  # 795,010 parameters
  layers=(
    0: MLP(
      layers=(
        0: Linear(W=float32[784,1000], b=float32[1000]),
        1: Linear(W=float32[1000,10], b=float32[10]),
      ),
      activation=sigmoid,
      dropout=Dropout(rate=0.0),
    ),
    1: Function(leaky_relu(slope=0.1)),
    2: Function(<lambda>),
  ),
)"""
    )


def test_usual_options_are_left_out_beside_parameters() -> None:
    assert repr(nn.PReLU.init(KEY, 3)) == "PReLU(slope=float32[3])"
    assert repr(nn.PReLU.init(KEY, 3, axis=-1)) == "PReLU(slope=float32[3], axis=-1)"
    assert repr(nn.Conv2d.init(KEY, 3, 8, 5, padding=2)) == "Conv2d(W=float32[8,3,5,5], b=float32[8], padding=2)"
    assert repr(nn.Flatten()) == "Flatten(start_axis=1, end_axis=-1)"
    assert "activation=sigmoid" in repr(nn.MLP.init(KEY, (3, 2)))


def test_layers_that_look_alike_are_said_once() -> None:
    model = nn.Sequential([nn.Linear.init(KEY, 4, 4)] * 3 + [F.relu] + [nn.Linear.init(KEY, 4, 4)] * 2)
    lines = repr(model).splitlines()
    assert lines[2:5] == ["    0-2: 3 x Linear(W=float32[4,4], b=float32[4]),", "    3: Function(relu),", "    4-5: 2 x Linear(W=float32[4,4], b=float32[4]),"]
    assert lines[0] == "Sequential(  # 40 parameters"  # a layer at several places has its parameters once


def test_frozen_parameters_and_statistics_are_counted_apart() -> None:
    model = nn.Sequential(fd.Frozen(nn.Linear.init(KEY, 4, 3)), nn.SpectralNorm.init(KEY, nn.Linear.init(KEY, 3, 2)), {"mask": 1}.__getitem__)
    assert sizes(model) == "8 parameters, 15 frozen, 5 statistics"
    assert repr(model).startswith("Sequential(  # 8 parameters, 15 frozen, 5 statistics\n")
    assert sizes(nn.Dropout(0.5)) == ""
    assert sizes(fd.tree.trainable(model)) == "8 parameters"


class Point(NamedTuple):
    x: Any
    y: Any


class Everything(fd.Module):
    table: dict[str, Any]
    point: Point
    values: list[Any]
    many: tuple[int, ...] = fd.static(default=tuple(range(200)))


@attrs.frozen
class Users:
    W: Any


def test_every_container_is_shown_without_its_numbers() -> None:
    module = Everything({"first": Users(np.zeros((30, 40))), "second layer": None}, Point(1, np.ones(3)), [np.ones(2), "a\nb"], tuple(range(300)))
    lines = repr(module).splitlines()
    assert lines[1:7] == ["  table={", "    'first': Users(W=float64[30,40]),", "    'second layer': None,", "  },", "  point=Point(x=1, y=float64[3]),", "  values=[float64[2], 'a\\nb'],"]
    assert lines[7].startswith("  many=(0, 1, 2, ")
    assert len(lines[7]) < LONGEST + 20


class Quiet(fd.Module):
    W: Any

    def __repr__(self) -> str:
        return "Quiet"

    def __call__(self, x: Any) -> Any:
        return x


class Quieter(Quiet):
    pass


def test_a_repr_of_ones_own_is_used_within_others() -> None:
    assert repr(nn.Sequential(Quiet(1), Quieter(2))) == "Sequential(layers=(Quiet, Quiet))"
    assert "Linear.lazy(10)" in repr(nn.Sequential(nn.Linear.lazy(10)))


def test_unfinished_and_traced_modules_are_shown() -> None:
    model = nn.Linear.init(KEY, 4, 3)
    assert repr(fd.tree.map(lambda leaf: None, model)) == "Linear(W=None, b=None)"
    assert repr(object.__new__(nn.Linear)) == "Linear(W=None, b=None)"
    seen: list[str] = []
    fd.grad(lambda model: (seen.append(repr(model)), fd.numpy.sum(model.W))[1])(model)
    assert seen == ["Linear(W=float32[4,3], b=float32[3])"]


def test_lines_are_cut_off() -> None:
    assert one_line(nn.Linear.init(KEY, 4, 3), 20) == "Linear(W=float32[..."
    assert len(one_line("x" * 1000)) == LONGEST
    wide = type("Wide", (fd.Module,), {"__annotations__": {f"field_{i}": int for i in range(20)}})
    assert max(map(len, repr(wide(*range(20))).splitlines())) <= WIDTH
    flat = nn.Sequential([nn.LSTMCell.init(KEY, 100, 100, dtype=np.float16)] * 2)
    assert repr(flat).splitlines()[2] == "    0-1: 2 x LSTMCell(Wx=float16[100,400], Wh=float16[100,400], b=float16[400]),"


# HTML


class Reader(html.parser.HTMLParser):
    """Reads the text, and checks that every tag is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.folds = 0

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.open.append(tag)
        self.folds += tag == "details"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(module: Any) -> Reader:
    reader = Reader()
    reader.feed(module._repr_html_())
    reader.close()
    assert not reader.open
    return reader


def test_notebooks_show_a_tree_that_folds() -> None:
    model = nn.Sequential(nn.MLP.init(KEY, (4, 3, 2)), *[nn.Residual(nn.Linear.init(KEY, 2, 2))] * 2, F.relu)
    reader = read(model)
    text = " ".join("".join(reader.text).split())
    assert text.startswith("Sequential 29 parameters")
    assert "1-2: 2 x Residual" in text or "1-2 (2 x): Residual" in text
    assert "0: Linear(W=float32[4,3], b=float32[3]) 15 parameters" in text
    assert "activation: sigmoid" in text
    assert reader.folds == 5  # the model, its layers, the MLP and its layers, the two that look alike


def test_html_is_escaped() -> None:
    markup = "<script>alert(1)</script>&"
    module = Everything({markup: Users(np.zeros(3)), "deep": nn.Sequential(lambda x: x)}, Point(markup, type(markup, (Quiet,), {})(1)), [markup])
    shown = module._repr_html_()
    assert "<script" not in shown
    assert "<lambda" not in shown
    assert "".join(read(module).text).count("<script>") == 3
    assert "&lt;lambda&gt;" in shown
    assert read(nn.Function(F.relu)).text == ["Function(relu)"]
    assert "Linear" in "".join(read(nn.Linear.init(KEY, 4, 3)).text)


LEAVES = arrays() | st.text(max_size=8) | st.none() | st.booleans() | st.floats() | st.functions(like=lambda: None)


@given(pytrees(LEAVES, modules=True))
def test_any_tree_is_shown(tree: Any) -> None:
    module = Pair(tree, nn.Linear.init(KEY, 2, 2))
    assert "\n" not in one_line(module)
    lines = repr(module).splitlines()
    assert lines[0].startswith("Pair(")
    assert all(line.startswith("  ") for line in lines[1:-1])
    assert "Linear(W=float32[2,2], b=float32[2])" in "".join(read(module).text)
    assert sizes(module) == sizes([tree, module.right])


# Messages


@pytest.mark.parametrize("call", [
    lambda model: nn.Sequential(model, 3), lambda model: F.linear(np.ones(3), model), lambda model: nn.Dropout(model),
    lambda model: nn.MLP.init(KEY, model), lambda model: nn.MLP.init(KEY, (3, 2), activation=[model]), lambda model: nn.Linear.init(KEY, 3, model), lambda model: nn.Residual([model]),
    lambda model: nn.WeightNorm.init(model, "W"), lambda model: nn.Linear.init(KEY, 4, 3, weight_init=model), lambda model: fd.tree.update(model, {"W": 1}),
    lambda model: model.__setattr__("rate", 1),
])  # fmt: skip
def test_messages_do_not_show_whole_models(call: Any) -> None:
    model = nn.MLP.init(KEY, (784, 100, 100, 10))
    with pytest.raises((StructureError, ValueError, TypeError, AttributeError)) as caught:
        call(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 330
