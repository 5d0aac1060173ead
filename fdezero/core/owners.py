"""Who may write into an array: what the library keeps is copied or locked, and what it hands out has memory of its own.

NumPy cannot tell which other arrays look into the same memory. Reference counts can tell that there are none: every view holds
the array that owns the memory. Where counts cannot be trusted, arrays are copied.
"""

import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ImmutableError
from ..messages import describe
from .tracer import Tracer

SMALL = 1 << 14  # bytes; up to here a copy costs no more than a lock
LARGE = 1 << 20  # bytes; from here on a copy costs more than many a gradient
SAMPLE = 61  # entries of a very large array that are compared; a prime, so that they lie in all rows and columns


class Reused(np.ndarray):
    """The memory of an output of a compiled program. The program writes it again when no view is left."""


class Sealed(np.ndarray):
    """Memory that only the library can reach, and that nobody writes any more."""


def references(holder: Sequence[Any], i: int) -> int:
    """The reference count of `holder[i]`, to be compared with `COUNTS`."""
    return sys.getrefcount(holder[i])


def references_of_base(holder: Sequence[Any], i: int) -> int:
    """The reference count of the array that `holder[i]` is a view of."""
    return sys.getrefcount(holder[i].base)


def _calibrated() -> tuple[int, int] | None:
    """The counts of an array that only a list holds, and of an array that only one view holds. None if counts cannot be trusted."""
    if not hasattr(sys, "getrefcount") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    whole, part = [np.empty(2)], [np.empty(2)[:1]]
    free = references(whole, 0), references_of_base(part, 0)
    other, view = whole[0], part[0][:]
    told = (references(whole, 0), references_of_base(part, 0)) == (free[0] + 1, free[1] + 1)
    del other, view
    return free if told and (references(whole, 0), references_of_base(part, 0)) == free else None


COUNTS = _calibrated()


def own(leaves: list[Any], mask: Sequence[bool] | None = None) -> list[Any]:
    """Give every array of the list memory of its own, which can be written: copy those that anything else refers to.

    The list is changed and returned. No variable of the caller may hold an array of the list. Leaves that are not arrays, and
    those whose `mask` is false, stay as they are.
    """
    for i in range(len(leaves)):
        if (mask is None or mask[i]) and not _is_own(leaves, i):
            leaves[i] = leaves[i].copy("K")
    return leaves


def _is_own(leaves: list[Any], i: int, times: int = 1) -> bool:
    """Whether nothing but the list, which may hold the array several `times`, refers to `leaves[i]` or its memory."""
    if leaves[i].__class__ is not np.ndarray and not _is_array(leaves[i]):
        return True
    if COUNTS is None or references(leaves, i) != COUNTS[0] + times - 1:
        return False
    if leaves[i].base is None:
        return not isinstance(leaves[i], np.ndarray) or bool(leaves[i].flags.owndata and leaves[i].flags.writeable)
    if leaves[i].base.__class__ is not np.ndarray or not leaves[i].flags.writeable:
        return False
    if leaves[i].base.base is None:
        return bool(references_of_base(leaves, i) == COUNTS[1] and leaves[i].base.flags.owndata)
    return _is_only_view_of_output(leaves, i)


def _is_only_view_of_output(leaves: Sequence[Any], i: int) -> bool:
    """Whether `leaves[i]`, an array with a base, is the one view of an output of a compiled program that was handed out."""
    if COUNTS is None or getattr(leaves[i].base, "base", None).__class__ is not Reused:
        return False
    # Two references are those of the program: its list, and the view that it writes through. It writes when no other is left.
    return references_of_base(leaves, i) == COUNTS[1] + 2


def _is_array(leaf: Any) -> bool:
    return (
        not isinstance(leaf, Tracer | np.generic | int | float | complex)
        and hasattr(leaf, "strides")
        and hasattr(leaf, "dtype")
    )


def lent(value: Any, *, private: bool = False) -> Any:
    """A NumPy array for code of the user's that must not write into the array itself. Other values stay as they are.

    It is a copy of a small array, and a read-only view of a large one. If the memory is `private`, because only the library can
    write it, no tape needs to copy the view.
    """
    if not isinstance(value, np.ndarray):
        return value.alias() if isinstance(value, Tracer) else value
    if value.nbytes <= SMALL:
        return copied(value)
    if private and value.__class__ is np.ndarray and value.base is None:  # a view may look into a locked array
        return seal(value)
    view = value.view()
    view.flags.writeable = False
    return view


def taken_back(results: list[Any], given: Sequence[Any], lent_ones: Sequence[Any]) -> list[Any]:
    """The results of a user's rule, so that the user can write into none of them. The list is changed and returned.

    Where the rule returns one of its arguments, which were lent to it, the result is the array that was `given`. Other arrays are
    copied if anything but the list refers to them.
    """
    places = {id(view): i for i, view in enumerate(lent_ones)}
    for i in range(len(results)):
        place = places.get(id(results[i]))
        if place is not None:
            results[i] = given[place]
        elif not _is_own(results, i):
            same = [k for k in range(len(results)) if results[k] is results[i]]
            if len(same) == 1 or not _is_own(results, i, len(same)):
                copy = results[i].copy("K")
                for k in same:
                    results[k] = copy
                del copy
    return results


def not_shared(y: Any, values: Sequence[Any]) -> Any:
    """The result `y` of an operation without a derivative, lent to the user if it is one of the values, or a view."""
    shares = y.__class__ is np.ndarray and (y.base is not None or any(y is value for value in values))
    return lent(y) if shares else y


def copied(array: Any) -> Any:
    """A copy of a NumPy array with the same strides, because the last bits of a result can depend on these."""
    if array.__class__ is not np.ndarray:
        return np.array(array, copy=True, order="K", subok=True)
    copy = array.copy("K")
    if copy.strides == array.strides or not array.size or array.dtype.hasobject:
        return copy
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.empty(high - low, np.uint8)
    copy = np.ndarray(array.shape, array.dtype, memory, array.ctypes.data - low, array.strides)
    copy[...] = array
    return copy


def sealed(value: Any) -> Any:
    """A copy of a NumPy array that nobody can write into; a sealed array, or any other value, as it is."""
    if value.__class__ is not np.ndarray:
        return copied(value) if isinstance(value, np.ndarray) else value
    if is_sealed(value):
        return value
    memory = np.empty_like(value.view(Sealed))  # it owns its memory: a view of a view has the owner as its base
    copy = memory.view(np.ndarray)
    if memory.strides != value.strides and value.size and not value.dtype.hasobject:
        low, high = np.lib.array_utils.byte_bounds(value)
        memory = np.ndarray.__new__(Sealed, high - low, np.uint8)
        copy = np.ndarray(value.shape, value.dtype, memory, value.ctypes.data - low, value.strides)
    copy[...] = value
    memory.flags.writeable = copy.flags.writeable = False
    return copy


def seal(array: Any) -> Any:
    """A read-only view of a NumPy array that nobody will write any more, so no tape needs to copy it."""
    if array.__class__ is not np.ndarray:
        return array
    view = array.view(Sealed)
    view.flags.writeable = False
    # NumPy's own view of the view would have the array itself as its base.
    return np.asarray(memoryview(view))  # type: ignore[arg-type]  # an array is a buffer


def is_sealed(value: Any) -> bool:
    """Whether a NumPy array looks into sealed memory."""
    base = value.base
    while base.__class__ is np.ndarray:
        base = base.base
    return base.__class__ is Sealed or (isinstance(base, memoryview) and isinstance(base.obj, Sealed))


class Guard:
    """What a tape keeps of the user's arrays, so that no write into them can spoil a gradient.

    A small array is copied. A large one becomes read-only until `release`, if nothing but one name or container refers to it;
    then no view exists that could be written instead. Every other array is copied, with one exception: while a single call
    computes a gradient (`brief`), a very large array with other references is read-only all the same. Its copy would take longer
    than many a gradient. `check` compares some entries, so that a write of the whole array through an older view is an error.
    CuPy arrays do not have a read-only flag and stay as they are.

    An interrupt can come between any two lines, also within `with lock:`. So there is no mutex: a guard claims an array in one atomic
    step and then locks it. `release` can run twice; the next release, of any guard, unlocks what is left over. The tape gets a view
    of a locked array, because shape and dtype of the array itself can still be set.
    """

    __slots__ = ("__weakref__", "brief", "copies", "known", "locks", "samples", "views")
    # By the identity of the array: the guard that has claimed it, which alone may lock it, and the array.
    _claims: dict[int, tuple[weakref.ref[Any], np.ndarray]] = {}
    _waiting: dict[int, np.ndarray] = {}  # the arrays to unlock; a view waits until its owner is unlocked

    def __init__(self, *, brief: bool = False, known: frozenset[int] = frozenset()) -> None:
        self.locks = False  # whether anything may be locked
        self.brief = brief
        self.known = known  # the identities of arrays that nobody can write into
        self.views: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the locked arrays, and what the tape gets for them
        self.copies: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.samples: list[tuple[np.ndarray, slice, bytes]] = []

    def lock(self, holder: Sequence[Any], i: int, holders: Sequence[Sequence[Any]]) -> None:
        """Make `holder[i]` read-only if it is a large array with at most one reference besides those in `holders`."""
        if holder[i].__class__ is np.ndarray and holder[i].nbytes > SMALL and COUNTS is not None:
            known = sum([part is holder[i] for parts in holders for part in parts])
            if references(holder, i) - known <= COUNTS[0]:
                is_view = holder[i].base is not None
                if not is_view or references_of_base(holder, i) == COUNTS[1]:  # such as np.arange(6.0).reshape(2, 3)
                    self._lock(holder[i])
                elif _is_only_view_of_output(holder, i):
                    self._lock(holder[i], alone=True)

    def _lock(self, array: np.ndarray, alone: bool = False) -> bool:
        """Make an array read-only, and, unless `alone`, those that it looks into. False if one of them is read-only or foreign."""
        chain: list[Any] = [array]
        while chain[-1].base is not None and not alone:
            chain.append(chain[-1].base)
            if chain[-1].__class__ is not np.ndarray:
                return False
        if COUNTS is None or not (alone or chain[-1].flags.owndata):
            return False
        chain.reverse()  # owners are unlocked before their views
        mine, self.locks = weakref.ref(self), True
        for part in chain:
            is_mine = id(part) in self._claims and self._claims[id(part)][0] is mine
            if not is_mine and not part.flags.writeable:
                return False
            if self._claims.setdefault(id(part), (mine, part))[0] is not mine:
                return False
        view = array.view()
        view.flags.writeable = False
        self.views[id(array)] = array, view
        for part in chain:
            part.flags.writeable = False
        return True

    def keep(self, value: Any) -> Any:
        """The values of an array where nobody can write into them: its own memory if it is locked or sealed, otherwise a copy."""
        if not isinstance(value, np.ndarray):
            return value
        if self.known and (id(value) in self.known or id(value.base) in self.known):
            return value
        if value.nbytes <= SMALL or value.__class__ is not np.ndarray:
            return copied(value)
        if id(value) in self.views:
            return self.views[id(value)][1]
        if is_sealed(value):
            return value
        if self.brief and value.nbytes > LARGE and self._lock(value):
            view = self.views[id(value)][1]
            some = slice(None, None, max(1, value.size // SAMPLE))
            self.samples.append((view, some, view.flat[some].tobytes()))
            return view
        found = self.copies.get(id(value))
        if found is None or not _has_same_bits(value, found[1]):
            found = self.copies[id(value)] = (value, copied(value))
        return found[1]

    def keep_saved(self, saved: Sequence[Any], args: tuple[Any, ...]) -> list[Any]:
        """What a rule saved, with `keep` for those arrays that are among the operation's arguments."""
        return [
            self.keep(value) if isinstance(value, np.ndarray) and any(value is arg for arg in args) else value
            for value in saved
        ]

    def check(self) -> None:
        """Raise ImmutableError if a very large array was written through a view that existed before it was locked."""
        for view, some, before in self.samples:
            if view.flat[some].tobytes() != before:
                raise ImmutableError(
                    f"{describe(view)} was written into, through another view of its memory, while its gradient was computed. The "
                    "gradient would be wrong. Write into a copy."
                )

    def release(self) -> None:
        """Make the locked arrays writable again."""
        if self.locks:
            mine = weakref.ref(self)
            for number, (guard, array) in list(self._claims.items()):
                if (
                    guard is mine or guard() is None
                ):  # an interrupt may have cut off the release of a guard that is gone
                    self._waiting[number] = array
                    self._claims.pop(number, None)
            for number, array in list(self._waiting.items()):
                try:
                    array.flags.writeable = True
                except ValueError:  # another guard has locked the owner
                    continue
                self._waiting.pop(number, None)
            self.locks = False
        self.views, self.copies, self.samples = {}, {}, []

    def __del__(self) -> None:
        if getattr(self, "locks", False):
            self.release()


def _has_same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one layout hold the same bits. Reading both is cheaper than one more copy."""
    if a.dtype.itemsize not in (1, 2, 4, 8) or a.dtype.hasobject:
        return False
    bits = np.dtype(f"u{a.dtype.itemsize}")
    return not (a.view(bits) != b.view(bits)).any()
