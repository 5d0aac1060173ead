"""The cotangent of a value that is read piece by piece: all pieces are added into one array, which the tape owns.

The adjoint of `x[k]` is an array of zeros with one row filled in. A loop over the rows would make as many arrays of the size of x,
and add them. So a piece is kept as it is, with the path of views that leads to its place.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cotangents import fit
from .tracer import Tracer

# The steps from an array to a part of it: a view, its parameters, and the shape of its operand.
Path = tuple[tuple[Any, dict[str, Any], tuple[int, ...]], ...]
Piece = tuple[Any, Path]


class Views:
    """What a tape must know about an operation whose result is a view.

    `view(x, **params)` is the part of an array as an array to write into, and `put(pieces, shape)` an operation: zeros of `shape`,
    with all pieces added. `starts`: the adjoint fills zeros, so its cotangent is kept as a piece. `in_rows`: only an array in C
    order is sure to have such a view.
    """

    gathers = False
    operation: Any = None  # whose piece this is

    def __init__(
        self, view: Callable[..., Any], put: Callable[..., Any], *, starts: bool = False, in_rows: bool = False
    ) -> None:
        self.view, self.put, self.starts, self.in_rows = view, put, starts, in_rows


class Gathers:
    """What a tape must know about an operation that gathers entries of its first argument.

    Cotangents with an equal `key(args, params)` are put back together: `joined([(t, args, params), ...])` is the sum of their
    adjoints. None stands for a cotangent that must be put back by itself.
    """

    gathers = starts = True
    operation: Any = None

    def __init__(self, key: Callable[..., Any], joined: Callable[..., Any]) -> None:
        self.key, self.joined = key, joined


class Pieces:
    """What a node has of its cotangent: the sum of whole arrays, pieces with their paths, and pieces that were gathered.

    The sum of the pieces starts from zeros, and adds them in the order in which they arrive. At the end it is added to the sum of
    the whole arrays. A recorded program has one operation for all pieces. Plain ones are added as they arrive, once they are half
    as large as the array. Before that, a view can still hand them on to the array that it looks into.
    """

    __slots__ = (
        "dtype",
        "gathered",
        "is_own",
        "is_traced",
        "placed",
        "room",
        "shape",
        "size",
        "touched",
        "views",
        "whole",
    )

    def __init__(self, shape: tuple[int, ...], dtype: Any, whole: Any = None) -> None:
        self.shape, self.dtype = shape, dtype
        self.whole = whole
        self.is_own = False  # whether nothing else refers to `whole`
        self.views: list[Piece] = []
        self.room: Any = None  # the array that plain pieces are added into
        self.gathered: dict[Any, _Group] = {}
        self.size = math.prod(shape)
        self.touched = 0  # entries of all pieces
        self.is_traced = False
        self.placed: Any = None

    def add(self, t: Any) -> None:
        """Add the cotangent `t` of the whole array."""
        if self.whole is None:
            self.whole = t
        elif self.is_own and _are_alike(self.whole, t):
            np.add(self.whole, t, out=self.whole)
        else:
            self.whole = self.whole + t
            self.is_own = self.whole.__class__ is np.ndarray

    def take(self, t: Any, node: Any) -> None:
        """Add `t`, the cotangent of `node`, which reads a part of the array."""
        primitive = node.primitive
        piece = primitive.piece
        operation = piece.operation
        if not piece.gathers:
            self._take_view(t, ((operation, node.params, self.shape),))
        elif (key := piece.key(node.saved, node.params)) is not None:
            self._take_gathered((t, node.saved, node.params), (), operation, key)
        else:
            self.add(put_back(t, node, self.shape, self.dtype))
        if operation is not primitive:
            self.placed = primitive

    def _take_view(self, t: Any, path: Path) -> None:
        if self.room is not None and not isinstance(t, Tracer):
            add_piece(self.room, t, path)
            return
        self.touched += t.size
        if isinstance(t, Tracer):
            self.is_traced = True
            if self.room is not None:
                self.views, self.room = [(self.room, ())], None
        self.views.append((t, path))
        if 2 * self.touched >= self.size and not self.is_traced and len(self.views) > 1:
            self._add_up()

    def _add_up(self) -> None:
        """Add all pieces so far into one array."""
        self.room = room_for(self.views[0], self.shape)
        for piece in self.views:
            add_piece(self.room, *piece)
        self.views = []

    def _take_gathered(self, piece: tuple[Any, Any, dict[str, Any]], path: Path, operation: Any, key: Any) -> None:
        whole_key = operation, key, tuple([(step, *params.items()) for step, params, _ in path])
        group = self.gathered.get(whole_key)
        if group is None:
            group = self.gathered[whole_key] = _Group(operation, key, path)
        group.pieces.append(piece)
        group.touched += piece[0].size
        self.touched += piece[0].size
        if len(group.pieces) > 1 and group.touched > self.size:
            del self.gathered[whole_key]
            self._settle(group)

    def _settle(self, group: "_Group") -> None:
        """Put a group of gathered pieces back, which gives one piece, or a whole array."""
        t = group.operation.piece.joined(group.pieces)
        if group.path:
            self._take_view(t, group.path)
        else:
            self.add(t)

    def passes(self, node: Any) -> bool:
        """Whether `node`, whose cotangent this is, is a view that hands all pieces on: they are a small part of its entries."""
        piece = node.primitive.piece
        if piece is None or piece.gathers or self.whole is not None or self.room is not None:
            return False
        if 2 * self.touched >= self.size:
            return False
        paths = [*[path for _, path in self.views], *[group.path for group in self.gathered.values()]]
        return piece.in_rows or not any(path and path[0][0].piece.in_rows for path in paths)

    def pass_on(self, node: Any, pieces: "Pieces") -> None:
        """Give all pieces to `pieces`, those of the array that the view `node` looks into."""
        step = node.primitive.piece.operation, node.params, pieces.shape
        pieces.placed = self.placed
        for t, path in self.views:
            pieces._take_view(t, (step, *path))
        for group in self.gathered.values():
            for piece in group.pieces:
                pieces._take_gathered(piece, (step, *group.path), group.operation, group.key)

    def total(self) -> Any:
        """The cotangent. No piece may follow."""
        return self._total() if self.placed is None else self.placed.within("backward pass", self._total)

    def _total(self) -> Any:
        while self.gathered:
            self._settle(self.gathered.pop(next(iter(self.gathered))))
        t = self.room if self.room is not None else self._sum()
        if t is None or self.whole is None:
            return self.whole if t is None else t
        if self.room is not None and _are_alike(t, self.whole):
            return np.add(self.whole, t, out=t)
        return self.whole + t

    def _sum(self) -> Any:
        if not self.views:
            return None
        t, path = self.views[-1]
        if len(self.views) == 1:
            return _alone(t, path)
        if self.is_traced:
            return path[-1][0].piece.put(self.views, self.shape)
        self._add_up()
        return self.room


class _Group:
    """Pieces that are put back together: gathered by one operation, along the same path, with indices of one kind."""

    __slots__ = ("key", "operation", "path", "pieces", "touched")

    def __init__(self, operation: Any, key: Any, path: Path) -> None:
        self.operation, self.key, self.path = operation, key, path
        self.pieces: list[tuple[Any, Any, dict[str, Any]]] = []
        self.touched = 0


def put_back(t: Any, node: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The whole cotangent of the array of which `node` reads a part, from the cotangent `t` of the part."""
    ((_, t),) = node.primitive.pull(t, node)
    return t if t.shape == shape and t.dtype == dtype else fit(t, shape, dtype)


def _are_alike(x: Any, y: Any) -> bool:
    """Whether a sum of the two has the layout of both, so that it can be written into one of them."""
    return (
        x.__class__ is y.__class__ is np.ndarray and x.dtype == y.dtype and x.strides == y.strides and x.flags.writeable
    )


class _Shaped:
    """The operand of a view as its adjoint sees it."""

    __slots__ = ("dtype", "ndim", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)


def _alone(t: Any, path: Path) -> Any:
    """A whole array of zeros with one piece in its place."""
    for operation, params, shape in reversed(path):
        t = operation.adjoints[0](t, _Shaped(shape, t.dtype), **params)
    return t


def room_for(piece: Piece, shape: Sequence[int]) -> Any:
    """Zeros of `shape`, to which pieces are added, of which this is the first."""
    t, path = piece
    return np.zeros_like(t, shape=tuple(shape), order="K" if len(path) <= 1 else "C")


def add_piece(room: Any, t: Any, path: Path, *, is_first: bool = False) -> None:
    """Add `t` to the part of `room` where the path leads. The first piece meets zeros, which need not be read."""
    if any(operation.piece.in_rows for operation, _, _ in path) and not room.flags.c_contiguous:
        room += _alone(t, path)  # such a part may be a copy
        return
    for operation, params, _ in path:
        room = operation.piece.view(room, **params)
    if is_first:
        np.add(t, 0, out=room)
    else:
        room += t
