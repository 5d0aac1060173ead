"""`trace` returns the program of a function, and `plot` draws the program."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..compiler import Compiled, Graph, compile  # noqa: A004, the field's word
from ..core.wrapping import Transformed, check_function
from ..errors import FileError, MissingExtraError
from ..messages import told
from .layout import to_html, to_svg


def trace(function: Callable[..., Any], *, static: Sequence[str] = ()) -> Callable[..., Graph]:
    """A function of the same arguments that returns the program recorded by `fd.compile`: `print(fd.trace(f)(x))`.

    The program shows every operation with shapes, dtypes and your line, including those of gradients and batches. `static` names
    arguments as in `fd.compile`. Raises TraceError if the program depends on values.
    """
    check_function(function, "trace")
    compiled = function if isinstance(function, Compiled) else compile(function, static=static)

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
        graph: Graph = compiled.trace(*args, **kwargs)
        return graph

    return Transformed(trace, function, run, static=static)


@told(
    lambda *_, **__: (
        "The options of the drawing go into the second call: fd.plot(f)(*args, to_file='graph.svg', verbose=False)."
    )
)
def plot(function: Callable[..., Any], *, static: Sequence[str] = ()) -> Callable[..., Path]:
    """A function that draws the program of `function`: `fd.plot(f)(*args, to_file="graph.svg", verbose=True)`. You get the path.

    Values have names, shapes and dtypes (`verbose=False`: only names). Operations are boxes, and a loop or a branch is one box.
    `.svg`, `.html` and `.dot` do not need another program; Graphviz draws all other formats (.png, .pdf).

    Raises MissingExtraError if the format needs Graphviz and Graphviz is not installed, FileError for an unknown format.
    """
    traced = trace(function, static=static)

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Path:
        to_file, verbose = kwargs.pop("to_file", "graph.svg"), kwargs.pop("verbose", True)
        return draw(traced(*args, **kwargs), to_file, verbose)

    return Transformed(plot, function, run, static=static)


def draw(graph: Graph, to_file: Any = "graph.svg", verbose: bool = True) -> Path:
    """Draw a program into a file, in the format of its ending, and return the path."""
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
        raise FileError(
            f"plot: to_file={str(to_file)!r} needs an ending that names the format, such as graph.svg, .html, .dot or .png."
        )
    else:
        raise MissingExtraError(
            f"plot: {ending} needs Graphviz's program dot, which is not installed. Install Graphviz (https://graphviz.org/download), "
            "or pass to_file='graph.svg', '.html' or '.dot', which do not need Graphviz."
        )
    return path


def _run(program: str, text: str, path: Path, kind: str) -> None:
    command = [program, f"-T{kind}", "-o", str(path)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise FileError(f"plot: dot cannot draw {path.name}: {done.stderr.strip()}")
