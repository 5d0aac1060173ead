"""Names of arrays in files of fdezero, DeZero and torchvision, each made of another."""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...errors import FileError
from ...io.leaves import Pending

__all__ = ["NAMINGS", "renamed"]

NORMS = {"gamma": "scale", "beta": "shift", "avg_mean": "mean", "avg_var": "variance"}  # of DeZero, and here
CELLS = {"f": "ifuo", "h": "h"}  # the gate that tells a cell of DeZero, and its gates in the order of columns here
# Of a cell here; in DeZero, from where a matrix leads, and its field.
FIELDS = {"Wx": ("x", "W"), "Wh": ("h", "W"), "b": ("x", "b")}
BLOCKS = ("a", *(f"b{number}" for number in range(1, 36)))  # of a ResNet of DeZero: the deepest has 36 in a stage


class Family(NamedTuple):
    """Networks whose files have several forms: the forms, a name here, all names that a file of DeZero may have, and one that it has."""

    forms: tuple[Any, ...]
    here: str
    of_dezero: tuple[str, ...] = ()
    always: str = ""


def families() -> list[Family]:
    """The networks that people know. Their names are loaded when they are asked for."""
    from ...models import resnet, squeezenet, vgg

    convs = [f"conv{block}_{place}" for block in range(1, 6) for place in range(1, 5)]
    vggs = [f"{layer}/{field}" for layer in [*convs, "fc6", "fc7", "fc8"] for field in ("W", "b")]
    parts = [
        f"{kind}{i}/{field}"
        for i in range(1, 5)
        for kind, fields in (("conv", ("W", "b")), ("bn", NORMS))
        for field in fields
    ]
    resnets = [f"res{stage}/{block}/{part}" for stage, block, part in itertools.product(range(2, 6), BLOCKS, parts)]
    resnets += [f"{layer}/{field}" for layer in ("conv1", "fc6") for field in ("W", "b")] + [
        f"bn1/{field}" for field in NORMS
    ]
    return [
        # SqueezeNet comes first: its file of torchvision also has the name that tells a VGG.
        Family(squeezenet.FORMS, "fires/0/squeeze/W"),
        Family(vgg.FORMS, "blocks/0/convs/0/W", tuple(vggs), "fc8/W"),
        # torchvision's ResNet has no bias at its stem, and its strides are elsewhere
        Family(resnet.FORMS, "stages/0/layers/0/convs/0/W", tuple(resnets), "conv1/b"),
    ]


def to_fdezero(leaves: Mapping[str, Pending]) -> dict[str, Pending]:
    """Names and layouts of `fd.save`: of files of DeZero and torchvision, and `l0/W` of DeZero's sequences."""
    for family in families():
        for form in family.forms[1:]:  # the first one is that of `fd.save`
            if form.sign in leaves:
                names = form.keys(dict(leaves))
                return _unique(
                    (names.get(key, key), _turned(names.get(key, key), leaf, form)) for key, leaf in leaves.items()
                )
    return _unique((_sequence_here(key), leaf) for key, leaf in _gates_joined(leaves).items())


def to_dezero(leaves: Mapping[str, Pending]) -> dict[str, Pending]:
    """Names of DeZero's `save_weights`: of VGG and ResNet, and `l0/W` for `layers/0/W`."""
    for family in families():
        if family.here not in leaves:
            continue
        form = next((form for form in family.forms if form.name == "DeZero"), None)
        if form is None:
            raise FileError("DeZero does not have this network.")
        names = {ours: theirs for theirs, ours in form.keys(dict.fromkeys(family.of_dezero)).items()}
        if missing := [key for key in leaves if key not in names]:
            raise FileError(f"DeZero does not have a name for {', '.join(missing[:3])}.")
        found = _unique((names[key], leaf) for key, leaf in leaves.items())
        if family.always not in found:
            raise FileError(f"this is not the network that DeZero has: its files hold {family.always}.")
        return found
    return _unique((_sequence_there(key), leaf) for key, leaf in _gates_split(leaves).items())


def _gates_joined(leaves: Mapping[str, Pending]) -> dict[str, Pending]:
    """The matrices of DeZero's RNN and LSTM as those of a cell here: `rnn/x2i/W` and others become `rnn/Wx`."""
    found = dict(leaves)
    for sign, gates in CELLS.items():
        for parent in [key.removesuffix(f"x2{sign}/W") for key in leaves if f"/{key}".endswith(f"/x2{sign}/W")]:
            for name, (side, field) in FIELDS.items():
                keys = [f"{parent}{side}2{gate}/{field}" for gate in gates]
                if all(key in found for key in keys):
                    parts = [found.pop(key) for key in keys]
                    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
                    found[f"{parent}{name}"] = Pending(shape, parts[0].dtype, _joining(parts))
    return found


def _gates_split(leaves: Mapping[str, Pending]) -> dict[str, Pending]:
    """The inverse: a cell whose `Wx` has four times the columns that `Wh` has rows is an LSTM, one with as many an RNN."""
    found = dict(leaves)
    for parent in [key.removesuffix("Wh") for key in leaves if f"/{key}".endswith("/Wh")]:
        rows, columns = leaves[f"{parent}Wh"].shape
        gates = next((gates for gates in CELLS.values() if rows * len(gates) == columns), None)
        if gates is None:
            raise FileError(
                f"{parent}Wh {rows} x {columns} is no matrix of a cell that DeZero has: these are RNN and LSTM."
            )
        for name, (side, field) in FIELDS.items():
            if leaf := found.pop(f"{parent}{name}", None):
                for place, gate in enumerate(gates):
                    shape = (*leaf.shape[:-1], rows)
                    key = f"{parent}{side}2{gate}/{field}"
                    found[key] = Pending(shape, leaf.dtype, _part(leaf, slice(place * rows, (place + 1) * rows)))
    return found


def _joining(parts: list[Pending]) -> Callable[[], np.ndarray]:
    return lambda: np.concatenate([part.read() for part in parts], axis=-1)


def _part(leaf: Pending, columns: slice) -> Callable[[], np.ndarray]:
    return lambda: leaf.read()[..., columns]


def _sequence_here(key: str) -> str:
    key = re.sub(r"(^|/)l(\d+)(?=/)", r"\1layers/\2", key)
    parent, _, field = key.rpartition("/")
    return f"{parent}/{NORMS[field]}" if parent and field in NORMS else key


def _sequence_there(key: str) -> str:
    key = re.sub(r"(^|/)layers/(\d+)(?=/)", r"\1l\2", key)
    parent, _, field = key.rpartition("/")
    theirs = {ours: theirs for theirs, ours in NORMS.items()}
    return f"{parent}/{theirs[field]}" if parent and field in theirs else key


def _turned(key: str, leaf: Pending, form: Any) -> Pending:
    """The leaf in the layout that it has here: a matrix is (in, out)."""
    if not form.turned or len(leaf.shape) < 2 or (len(leaf.shape) > 2 and not key.startswith("head/layers/")):
        return leaf
    rows = leaf.shape[0]
    shape = (int(np.prod(leaf.shape[1:])), rows)
    return Pending(shape, leaf.dtype, lambda: np.ascontiguousarray(leaf.read().reshape(rows, -1).T))


def _unique(pairs: Any) -> dict[str, Pending]:
    found: dict[str, Pending] = {}
    for key, leaf in pairs:
        if key in found:
            raise FileError(f"two arrays would get the name {key}.")
        found[key] = leaf
    return found


NAMINGS: dict[str, Callable[[Mapping[str, Pending]], dict[str, Pending]]] = {
    "fdezero": to_fdezero,
    "dezero": to_dezero,
    "dots": lambda leaves: _unique((key.replace("/", "."), leaf) for key, leaf in leaves.items()),
    "slashes": lambda leaves: _unique((key.replace(".", "/"), leaf) for key, leaf in leaves.items()),
}


def renamed(leaves: Mapping[str, Pending], naming: str | None) -> dict[str, Pending]:
    """The leaves under the names of a naming, in the layout that goes with them."""
    return dict(leaves) if naming is None else NAMINGS[naming](leaves)
