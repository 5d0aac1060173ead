"""Runs exported files without this library."""

import builtins
from typing import Any

import numpy as np

import fdezero as fd


def _import(name: str, *args: Any, **kwargs: Any) -> Any:
    assert name.partition(".")[0] != "fdezero", f"the file imports {name}"
    return __import__(name, *args, **kwargs)


def run(text: str, name: str, path: str = "exported.py") -> Any:
    """The function `name` of a file with this text."""
    namespace = {"__builtins__": {**vars(builtins), "__import__": _import}, "__name__": "exported", "__file__": path}
    exec(compile(text, path, "exec"), namespace)
    return namespace[name]


def flat(tree: Any) -> Any:
    """A tree as an exported function takes and gives it: a dict of leaves by path; a leaf stays as it is."""
    return tree if isinstance(tree, np.ndarray | np.generic | int | float) else fd.tree.flatten_to_dict(tree)


def assert_same_bits(got: Any, wanted: Any, what: str = "") -> None:
    if isinstance(wanted, dict):
        assert list(got) == list(wanted), what
        for key in wanted:
            assert_same_bits(got[key], wanted[key], f"{what} {key}")
        return
    x, y = np.asarray(got), np.asarray(wanted)
    assert (x.shape, x.dtype, type(got)) == (y.shape, y.dtype, type(wanted)), what
    assert x.tobytes() == y.tobytes(), what
