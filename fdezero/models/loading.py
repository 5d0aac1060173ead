"""Models from files of fdezero, DeZero and torchvision: keys are renamed, layouts turned, sizes read from the arrays."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from .. import nn, random
from ..errors import DTypeError, FdezeroError, FileError
from ..io import load
from ..io.bfloat16 import widened
from ..io.files import PathLike
from ..io.trees import differences
from ..tree import Module, flatten, flatten_to_dict, unflatten
from ..values import is_floating

__all__: list[str] = []  # helpers of the models
Arrays: TypeAlias = dict[str, np.ndarray]
Model = TypeVar("Model", bound=Module)
LINES = 12  # of a message: a file of another network differs in hundreds of keys


class Form(NamedTuple):
    """A way to name and to lay out a network's arrays in a file.

    A file has this form if it holds the key `sign`. `keys` maps the file's names to those of the model; a name without a
    counterpart maps to itself. `turned` says that matrices are (out, in).
    """

    name: str
    sign: str
    keys: Callable[[Mapping[str, np.ndarray]], Mapping[str, str]]
    turned: bool = False


def as_they_are(arrays: Mapping[str, np.ndarray]) -> Mapping[str, str]:
    """The names of a file that `fd.save` made of a model."""
    return {name: name for name in arrays}


def load_model(
    cls: type[Model],
    path: PathLike,
    dtype: Any,
    forms: tuple[Form, ...],
    options: Callable[[str, Arrays], Mapping[str, Any]],
) -> Model:
    """The model of class `cls` in a file of one of the forms. `options(form, arrays)` are those of its `init`.

    Raises FileError for a file of another form, and lists the keys that are missing, unexpected or different.
    """
    dtype = None if dtype is None else np.dtype(dtype)
    if dtype is not None and not is_floating(dtype):
        raise DTypeError(f"{cls.__name__}.load: parameters are floating numbers; got dtype={dtype}.")
    arrays = {key: widened(array) for key, array in load(path).items() if not key.endswith("num_batches_tracked")}
    form = next((form for form in forms if form.sign in arrays), None)
    if form is None:
        shown = ", ".join([*arrays][:3]) or "none"
        raise FileError(
            f"{os.fspath(path)} is not a file of {cls.__name__}: its keys ({shown}, ...) are not those of "
            f"{' or '.join(form.name for form in forms)}."
        )
    keys = form.keys(arrays)
    dtypes = {array.dtype for array in arrays.values() if is_floating(array.dtype)}
    if dtype is None and form.name == "DeZero" and len(dtypes) > 1:
        # As DeZero means it. With NumPy 2 its weights become float64, but its biases stay float32.
        dtype = np.dtype(np.float32)
    found: Arrays = {}
    for name in [*arrays]:
        array = arrays.pop(name)  # so that a large matrix is held twice only for a moment
        if (key := keys.get(name, name)) in found:
            raise FileError(f"{os.fspath(path)} holds the array {key!r} under several names, {name!r} among them.")
        found[key] = _laid_out(key, array if dtype is None else array.astype(dtype, copy=False), form.turned)
    like = _like(cls, path, dict(options(form.name, found)), dtype or min(dtypes, key=str, default=np.float32))
    wanted = flatten_to_dict(like)
    for key in found.keys() & wanted.keys():
        # Statistics are float32 beside parameters of float16.
        if key.endswith(("/mean", "/variance")) and is_floating(found[key].dtype):
            found[key] = found[key].astype(wanted[key].dtype, copy=False)
    lines = differences({key: (array.shape, array.dtype) for key, array in found.items()}, wanted, True)
    if lines:
        rest = [f"  and {len(lines) - LINES} more"] if len(lines) > LINES else []
        raise FileError(
            "\n".join([f"{os.fspath(path)}, of {form.name}, does not fit {cls.__name__}:", *lines[:LINES], *rest])
        )
    return unflatten(flatten(like)[1], [found[key] for key in wanted])


def _laid_out(key: str, array: np.ndarray, turned: bool) -> np.ndarray:
    """The array as a layer holds it: a matrix (in, out), a kernel with its channels last in memory."""
    if turned and key.startswith("head/layers/") and array.ndim > 2:
        array = array.reshape(len(array), -1)  # a linear layer as a convolution over the whole image: timm's VGG
    if turned and array.ndim == 2:
        return np.ascontiguousarray(array.T)
    if key.endswith("/W") and array.ndim == 4:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    return array


def _like(cls: type[Model], path: PathLike, options: dict[str, Any], dtype: Any) -> Model:
    """A model of zeros, which take no memory before they are written, with the sizes of the file."""
    made: Any = cls
    try:
        like: Model = made.init(random.key(0), **options, weight_init=nn.initial.zeros, dtype=dtype)
    except FdezeroError as error:
        raise FileError(f"{os.fspath(path)} has sizes that {cls.__name__} cannot have: {error}") from error
    return like


def size_of(arrays: Arrays, key: str, axis: int, default: int) -> int:
    """The length of an axis of an array in the file; `default` if the file lacks it, which a comparison then reports."""
    array = arrays.get(key)
    return array.shape[axis] if array is not None and array.ndim > axis else default
