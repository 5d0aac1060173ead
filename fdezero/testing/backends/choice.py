"""Finds a framework by its name, and says how to install one that is missing."""

import importlib
from typing import Any

from ...errors import MissingExtraError, RangeError
from ...messages import describe
from .protocol import Backend

BACKENDS = {"torch": ("PyTorch", "TorchBackend"), "jax": ("JAX", "JaxBackend")}


def backend_named(name: Any) -> Backend:
    """The backend of "torch" or "jax"; `torch:cuda` places tensors on a device. Raises MissingExtraError if it is not installed."""
    if isinstance(name, Backend):
        return name
    kind, _, device = name.partition(":") if isinstance(name, str) else (name, "", "")
    if not isinstance(kind, str) or kind not in BACKENDS:
        got = repr(name) if isinstance(name, str) else describe(name)
        raise RangeError(
            f"backend must be {', '.join(map(repr, BACKENDS))} or None, which stands for functions of NumPy and fdezero, got {got}."
        )
    words, made = BACKENDS[kind]
    try:
        module = importlib.import_module(f".of_{kind}", __package__)
    except ImportError as error:
        raise MissingExtraError(
            f"backend={name!r} tests functions of {words}, which cannot be imported here ({error}): pip install {kind}. "
            "A function of NumPy needs no backend."
        ) from error
    return getattr(module, made)(device)
