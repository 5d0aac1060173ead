"""Trees in files: npz or safetensors, keyed by slash-joined paths."""

from ..tree import flatten_to_dict, unflatten_from_dict
from .trees import load, save

__all__ = ["flatten_to_dict", "load", "save", "unflatten_from_dict"]
