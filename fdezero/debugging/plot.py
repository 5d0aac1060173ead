"""`trace`, the program of a function on these arguments, and `plot`, a drawing of it."""

import functools
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..compiler import Compiled, Graph, compile  # noqa: A004, the field's word
from ..errors import FileError, MissingExtraError
from .layout import to_html, to_svg


def trace(function: Callable[..., Any], *, static: Sequence[str] = ()) -> Callable[..., Graph]:
    """The function of the same arguments that returns the program which `fd.compile` records: `print(fd.trace(f)(x))`.

    Every operation, with shapes, dtypes and your line; gradients, batches and loops as they were asked for. `static` names
    arguments as for `fd.compile`. Raises TraceError where the program would depend on values.
    """
    compiled = function if isinstance(function, Compiled) else compile(function, static=static)

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Graph:
        graph: Graph = compiled.trace(*args, **kwargs)
        return graph

    return traced


def plot(function: Callable[..., Any], *, static: Sequence[str] = ()) -> Callable[..., Path]:
    """The function that draws the program of `function`: `fd.plot(f)(*args, to_file="graph.svg", verbose=True)`, the path written.

    Values with names, shapes and dtypes (verbose=False: names alone), operations as boxes, loops and branches as one box each.
    `.dot` is Graphviz's language, `.svg` and `.html` need nothing installed; any other ending (.png, .pdf) is drawn by Graphviz.

    Raises MissingExtraError if an ending needs Graphviz and it is not installed, FileError for one that it does not know.
    """
    traced = trace(function, static=static)

    @functools.wraps(function)
    def plotted(*args: Any, to_file: Any = "graph.svg", verbose: bool = True, **kwargs: Any) -> Path:
        return draw(traced(*args, **kwargs), to_file, verbose)

    return plotted


def draw(graph: Graph, to_file: Any = "graph.svg", verbose: bool = True) -> Path:
    """Draw a program into a file, in the format of its ending; the path."""
    path = Path(to_file)
    ending = path.suffix.lower()
    if ending in (".dot", ".gv"):
        path.write_text(graph.to_dot(verbose) + "\n", encoding="utf-8", newline="\n")
    elif ending == ".html":
        path.write_text(to_html(graph, verbose), encoding="utf-8", newline="\n")
    elif (program := shutil.which("dot")) and ending:
        _run(program, graph.to_dot(verbose), path, ending[1:])
    elif ending == ".svg":
        path.write_text(to_svg(graph, verbose), encoding="utf-8", newline="\n")
    elif not ending:
        raise FileError(f"plot: to_file={str(to_file)!r} has no ending that tells the format: say graph.svg, .html, .dot or .png.")
    else:
        raise MissingExtraError(
            f"plot: {ending} is drawn by the program dot, which is not installed: install Graphviz (https://graphviz.org/download), "
            "or say to_file='graph.svg', '.html' or '.dot', which need nothing."
        )
    return path


def _run(program: str, text: str, path: Path, kind: str) -> None:
    command = [program, f"-T{kind}", "-o", str(path)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise FileError(f"plot: dot cannot draw {path.name}: {done.stderr.strip()}")
