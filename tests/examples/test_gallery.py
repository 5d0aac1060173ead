"""Laws that every example obeys: a file that one can read, options, a quick form, a stated figure, a page in the gallery."""

import argparse
import importlib
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fdezero.examples import _terminal as terminal
from fdezero.examples.__main__ import FOLDER, examples

from ..profiles import nightly
from .few_images import put_in_place, refused, show_nothing

NAMES = [*examples()]
GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def example(name: str) -> Any:
    return importlib.import_module(f"fdezero.examples.{name}")


def page(name: str) -> str:
    return (GALLERY / f"{name}.md").read_text("utf-8")


def picture(name: str) -> str:
    """The name of the file that the page of an example shows; text if it shows none."""
    shown = re.search(r"!\[[^]]+\]\(made/([^)]+)\)", page(name))
    return shown[1] if shown else f"{name}.txt"


def test_a_file_can_be_read_at_one_sitting(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert "fd.compile" in text
    own = re.findall(r"^from fdezero[.\w]*\._?\w* import|^import fdezero.*", text, re.MULTILINE)
    assert all("._" not in line or "examples._terminal" in line for line in own), "an example uses public names alone"


def test_the_quick_form_runs_and_saves(
    name: str, example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures: list[dict[str, Any]] = []
    monkeypatch.setattr(example, "figure", lambda name, value, **bounds: figures.append({"value": float(value), **bounds}))
    show_nothing(monkeypatch)
    if hasattr(example, "mnist"):
        put_in_place(example, 500, monkeypatch)
    path = tmp_path / picture(name)
    if path.suffix != ".txt":
        pytest.importorskip("matplotlib")
    example.main(["--quick", "--save", str(path)])
    out = capsys.readouterr().out
    assert out.startswith("quick form of ")
    assert f"saved to {path} (" in out
    assert figures, "an example prints its figure by `figure`"
    for figure in figures:
        assert figure["value"] == figure["value"], "the figure is NaN"
        assert figure["stated"] is False
        assert not {"at_least", "at_most"}.isdisjoint(figure)
    opens(path)


def opens(path: Path) -> None:
    """Assert that a file holds what its name says."""
    if path.suffix == ".txt":
        assert path.read_text("utf-8").strip()
    elif path.suffix == ".svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    else:
        assert path.read_bytes().startswith(b"\x89PNG")
        from matplotlib.image import imread

        assert imread(path).std() > 0.01  # not a white page


def test_help_shows_the_options(name: str, example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        example.main(["--help"])
    assert ended.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith(f"usage: python -m fdezero.examples.{name} ")
    assert examples()[name] in out
    assert all(f" {option} " in out for option in ("--quick", "--seed", "--save"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "argument --seed: -1 is not a whole number, 0 or more"),
        (["--seeds-of-doubt"], "unrecognized arguments: --seeds-of-doubt"),
        (["--save", "picture.jpeg"], "argument --save: picture.jpeg does not end in ."),
        (["--save", "missing/picture.png"], "argument --save: "),
    ],
    ids=["number", "option", "ending", "folder"],
)
def test_mistakes_are_one_line(example: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(example, arguments, capsys)


def test_a_page_shows_the_command_its_output_and_the_source(name: str) -> None:
    text = page(name)
    assert f"python -m fdezero.examples.{name}" in text
    (shown, *_) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert "(stated: " in shown
    assert "NOT REACHED" not in text
    assert "quick form" not in shown
    assert f"](../../fdezero/examples/{name}.py)" in text
    assert "## Things to try" in text
    made = re.findall(r"\]\(made/(\w+)[-\w]*\.", text)
    assert set(made) <= {name}


def test_the_index_lists_examples_and_nothing_else() -> None:
    index = (GALLERY / "index.md").read_text("utf-8")
    listed = re.findall(r"\]\((\w+)\.md\)", index)
    assert sorted(listed) == sorted(path.stem for path in GALLERY.glob("*.md") if path.stem != "index")
    assert {*listed} == {*NAMES}


@nightly
def test_an_example_that_places_arrays_runs_on_a_gpu(
    name: str, example: Any, gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        example.main(["--help"])
    if "--device" not in capsys.readouterr().out:
        pytest.skip("its arrays are too small to be worth moving")
    monkeypatch.setattr(terminal, "why_no_gpu", lambda: "")  # the stand-in is no GPU, but does what one does
    example.main(["--quick", "--device", "gpu", "--save", str(tmp_path / picture(name))])
    assert "device: gpu" in capsys.readouterr().out.partition("\n")[0]


@nightly
def test_the_full_form_reaches_what_it_states(name: str, example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / picture(name)
    example.main(["--save", str(path)])
    out = capsys.readouterr().out
    stated = re.findall(r"^(.*): [-+.e\d]+ (\(stated: .*\))$", out, re.MULTILINE)
    assert stated
    assert "NOT REACHED" not in out
    for what, bounds in stated:
        assert re.search(rf"^{re.escape(what)}: .* {re.escape(bounds)}$", page(name), re.MULTILINE), "the page shows another figure"
    opens(path)
    assert path.stat().st_size < 1e6, "the page of the example takes long to load"


def test_a_figure_says_whether_it_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    figure = terminal.figure
    reached = [
        figure("accuracy", 0.97312, at_least=0.97),
        figure("error", 1.234e-5, at_most=1e-4),
        figure("share", 0.5, at_least=0.4, at_most=0.6),
        figure("accuracy", 0.5, at_least=0.97, stated=False),
        figure("accuracy", 0.5, at_least=0.97),
        figure("error", float("nan"), at_most=1.0),
    ]
    assert reached == [True, True, True, False, False, False]
    assert capsys.readouterr().out.splitlines() == [
        "accuracy: 0.9731 (stated: 0.97 or more)",
        "error: 1.23e-05 (stated: 0.0001 or less)",
        "share: 0.5000 (stated: 0.4 or more and 0.6 or less)",
        "accuracy: 0.5000",
        "accuracy: 0.5000 (stated: 0.97 or more; NOT REACHED)",
        "error: nan (stated: 1 or less; NOT REACHED)",
    ]


def test_what_is_stated_holds_for_the_numbers_of_the_full_form() -> None:
    parser = terminal.example_parser("mnist", "Do something.\n\nAnd say more.")
    parser.add_argument("--epochs", type=terminal.number(int, 1), default=5, quick=1)
    parser.add_argument("--images", type=terminal.number(int, 1), quick=10)
    parser.add_argument("--text", default="a")
    assert "And say more" not in parser.format_help()
    found = [
        (options.epochs, options.images, options.stated)
        for line in ("", "--device cpu --text b", "--epochs 6", "--images 7", "--seed 1")
        if (options := parser.parse_args(line.split()))
    ]
    assert found == [(5, None, True), (5, None, True), (6, None, False), (5, 7, False), (5, None, False)]
    quick = parser.parse_args(["--epochs", "3", "--quick"])
    assert (quick.epochs, quick.images, quick.stated) == (3, 10, False)
    assert parser.parse_args([]).epochs == 5  # the quick form is forgotten


def test_arguments_are_checked_one_by_one(tmp_path: Path) -> None:
    parser = terminal.example_parser("cnn", None)
    parser.add_argument("--photograph", type=terminal.file)
    (tmp_path / "a.jpg").touch()
    assert parser.parse_args(["--photograph", str(tmp_path / "a.jpg")]).photograph == tmp_path / "a.jpg"
    parser.exit_on_error = False
    with pytest.raises(argparse.ArgumentError, match=f"there is no file {tmp_path}"):
        parser.parse_args(["--photograph", str(tmp_path)])
    for device in ("cuda", "both"):
        with pytest.raises(argparse.ArgumentError, match=f"{device} is not auto, cpu or gpu"):
            parser.parse_args(["--device", device])


def test_a_picture_needs_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.importlib.util, "find_spec", lambda name: None)
    parser = terminal.example_parser("cnn", None, saves=(".svg", ".txt"))
    parser.parse_args(["--save", str(tmp_path / "a.txt")])
    with pytest.raises(terminal.MissingExtraError, match=r"a.svg needs matplotlib: pip install 'fdezero\[plot\]'"):
        parser.parse_args(["--save", str(tmp_path / "a.svg")])


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import numpy as np

    for file in ("a.svg", "b.svg"):
        with terminal.drawing(tmp_path / file) as figure:
            terminal.show_images(figure.subplots(), np.eye(4).reshape(2, 1, 2, 4), columns=1)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
