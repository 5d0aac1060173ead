"""DeZero itself, for comparisons: its release needs the name `np.int`, which NumPy 1.24 took away."""

import importlib
import warnings
from typing import Any

import numpy as np


def _imported() -> Any:
    had = hasattr(np, "int")
    if not had:
        np.int = int  # type: ignore[attr-defined]  # the name that NumPy no longer has
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # DeZero's strings have wrong escapes
            module = importlib.import_module("dezero")
            importlib.import_module("dezero.functions_conv")
    finally:
        if not had:
            del np.int  # type: ignore[attr-defined]  # as above
    return module


dezero = _imported()
