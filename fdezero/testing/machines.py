"""State machines of hypothesis: what users do with trees and with checkpoints, in any order, beside a plain model of what must come out."""

import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import optree

from .. import io
from .. import tree as trees
from ..errors import CheckpointWarning, FileError
from ..io.formats import format_of
from ..tree.structure import ALL, children_of
from ..values import is_inexact
from .comparison import assert_trees_equal
from .differences import copied, like
from .strategies import Strategy, hypothesis, st
from .structures import pytrees

stateful = hypothesis.stateful
FORMATS = (".npz", ".safetensors")
SEEDS = st.integers(0, 2**16)
PLACES = st.integers(0, 99)


def _changed(leaf: Any, seed: int) -> Any:
    """Other numbers of the kind, dtype and shape of `leaf`; a leaf that holds no numbers stays."""
    rng = np.random.default_rng(seed)
    if isinstance(leaf, bool | int):
        return type(leaf)(rng.integers(0, 100))
    dtype = getattr(leaf, "dtype", np.dtype(type(leaf)) if isinstance(leaf, float | complex) else None)
    if dtype is None or not (is_inexact(dtype) or np.dtype(dtype).kind in "biu"):
        return leaf
    return like(
        leaf, rng.standard_normal(np.shape(leaf)) if is_inexact(dtype) else rng.integers(0, 100, np.shape(leaf))
    )


def _other(tree: Any, seed: int) -> Any:
    """`tree` with other numbers in every leaf."""
    leaves, treedef = trees.flatten(tree)
    return trees.unflatten(treedef, [_changed(leaf, seed + number) for number, leaf in enumerate(leaves)])


def _modules(tree: Any) -> Iterator[trees.Module]:
    """The modules of a tree, an outer one before those inside it."""
    for node in optree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, trees.Module), namespace=ALL):
        if isinstance(node, trees.Module):
            yield node
            for name in children_of(type(node)):
                yield from _modules(getattr(node, name))


def _same(found: Any, expected: Any, what: str) -> None:
    """Check that two trees are equal to the bit, and that their leaves have the same types: a number is no array."""
    assert_trees_equal(found, expected, what, ("now", "expected"), bits=True)
    kinds = [[type(leaf).__name__ for leaf in trees.leaves(tree)] for tree in (found, expected)]
    assert kinds[0] == kinds[1], f"{what} have leaves of other types: {kinds[0]}, expected {kinds[1]}"


def _has_safetensors() -> bool:
    try:
        import_module("safetensors")
    except ImportError:
        return False
    return True


def _usable(formats: Sequence[str], tree: Any) -> list[str]:
    """The formats that are installed and keep the dtypes of `tree`."""
    there = [suffix for suffix in formats if suffix == ".npz" or _has_safetensors()]
    dtypes = [getattr(leaf, "dtype", None) or np.asarray(leaf).dtype for leaf in trees.leaves(tree)]
    return [suffix for suffix in there if all(format_of(suffix).keeps(dtype) for dtype in dtypes)]


class _InFolder(stateful.RuleBasedStateMachine):
    """A state machine with a folder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fdezero-machine-"))

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class TreeMachine(_InFolder):
    """Takes trees apart and makes others of them, by every way that there is; no tree may change another one.

        class Models(fd.testing.TreeMachine):
            trees = fd.testing.layers().map(lambda pair: pair[0])      # a strategy
        TestModels = Models.TestCase

    Rules: flatten, keys and paths, map, update by path, `replace` of modules, and files in each of the `formats`.
    """

    trees: ClassVar[Strategy] = pytrees(modules=True)
    formats: ClassVar[Sequence[str]] = FORMATS
    held = stateful.Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[tuple[Any, Any]] = []  # each tree with a copy that nobody else holds

    def hold(self, tree: Any) -> Any:
        """Keep a tree, and a copy by which a later change shows."""
        self.known.append((tree, copied(tree)))
        return tree

    @stateful.rule(target=held, tree=st.runner().flatmap(lambda machine: machine.trees))
    def make(self, tree: Any) -> Any:
        """A new tree."""
        return self.hold(tree)

    @stateful.rule(tree=held)
    def flatten(self, tree: Any) -> None:
        """A tree that is taken apart and put together is the same."""
        leaves, treedef = trees.flatten(tree)
        assert trees.flatten(tree)[1] == treedef, "flatten gave another structure on a second call"
        hash(treedef)
        assert treedef.num_leaves == len(leaves) == len(trees.paths(tree))
        _same(trees.unflatten(treedef, leaves), tree, "trees that were taken apart and put together")

    @stateful.rule(tree=held)
    def keys(self, tree: Any) -> None:
        """The same by keys, as files have them."""
        tree = {"tree": tree}  # a single leaf does not have a key
        flat = trees.flatten_to_dict(tree)
        assert list(flat) == trees.paths(tree)
        _same(trees.unflatten_from_dict(flat, like=tree), tree, "trees made of keys")

    @stateful.rule(target=held, tree=held, seed=SEEDS)
    def map(self, tree: Any, seed: int) -> Any:
        """A tree with other numbers."""
        _same(trees.map(lambda leaf: leaf, tree), tree, "trees that were mapped")
        return self.hold(_other(tree, seed))

    @stateful.rule(target=held, tree=held, seed=SEEDS, place=PLACES)
    def update(self, tree: Any, seed: int, place: int) -> Any:
        """A tree with another leaf at one path, and all other leaves as they were."""
        whole = {"tree": tree}
        flat = trees.flatten_to_dict(whole)
        if not flat:
            return self.hold(tree)
        path = list(flat)[place % len(flat)]
        flat[path] = _changed(flat[path], seed)
        updated = trees.update(whole, {path: flat[path]})
        found = trees.flatten_to_dict(updated)
        assert list(found) == list(flat), f"update of {path} changed the paths"
        wrong = [name for name in flat if found[name] is not flat[name]]
        assert not wrong, f"update of {path} replaced {', '.join(wrong)}"
        return self.hold(updated["tree"])

    @stateful.rule(tree=held, seed=SEEDS, place=PLACES)
    def replace(self, tree: Any, seed: int, place: int) -> None:
        """Each field of a module, replaced alone."""
        modules = list(_modules(tree))
        if not modules:
            return
        module = modules[place % len(modules)]
        other = _other(module, seed)
        for name in children_of(type(module)):
            one = module.replace(**{name: getattr(other, name)})
            for field in children_of(type(module)):
                expected = getattr(other if field == name else module, field)
                _same(getattr(one, field), expected, f"{type(module).__name__}.{field} after replace({name}=...)")

    @stateful.rule(tree=held, seed=SEEDS, place=PLACES)
    def file(self, tree: Any, seed: int, place: int) -> None:
        """A file gives back what was saved, with the structure of another tree and as a flat dict."""
        tree, formats = {"tree": tree}, _usable(self.formats, tree)
        if not formats or not trees.leaves(tree):
            return
        path = self.folder / f"tree{formats[place % len(formats)]}"
        io.save(path, tree)
        _same(io.load(path, like=_other(tree, seed)), tree, f"trees from {path.name}")
        found = io.load(path)
        assert sorted(found) == sorted(trees.paths(tree)), f"{path.name} has other keys: {', '.join(sorted(found))}"

    @stateful.invariant()
    def no_tree_has_changed(self) -> None:
        """No rule has changed a tree that it was given."""
        for tree, copy in self.known:
            _same(tree, copy, "trees that were held")


@attrs.define
class _Saved:
    """What the model knows of a checkpoint."""

    step: int
    score: float | None
    state: Any
    is_whole: bool = True


class CheckpointMachine(_InFolder):
    """Saves, cuts files, starts again and restores; what comes back is what was saved last, or best, and is whole.

        class Runs(fd.testing.CheckpointMachine):
            states = st.builds(make_state, st.integers(0, 9))            # a strategy
        TestRuns = Runs.TestCase

    Rules: save, restore (the last, the best, one of a step), and a new start after nothing, after files were cut as by a damaged
    disk, or after the list was lost. `keep`, `best`, `in_flight` and one of the `formats` are drawn.
    """

    states: ClassVar[Strategy] = pytrees(modules=True)
    formats: ClassVar[Sequence[str]] = FORMATS

    @stateful.initialize(
        state=st.runner().flatmap(lambda machine: machine.states),
        keep=st.none() | st.integers(1, 3),
        mode=st.sampled_from([None, "max", "min"]),
        in_flight=st.integers(0, 1),
        place=PLACES,
    )
    def begin(self, state: Any, keep: int | None, mode: str | None, in_flight: int, place: int) -> None:
        """A run in an empty folder."""
        self.state, self.step, self.runs = {"state": state}, 0, 0
        formats = _usable(self.formats, state) or [".npz"]
        best = {"best": "score", "mode": mode} if mode else {}
        self.options: dict[str, Any] = {
            "keep": keep,
            "in_flight": in_flight,
            "suffix": formats[place % len(formats)],
            **best,
        }
        self.mode, self.keep = mode, keep
        self.saved: list[_Saved] = []
        self.open(0)

    def open(self, run: int) -> None:
        """Go on in the folder of a run."""
        self.runs = run
        self.checkpoints = io.Checkpoints(self.folder / f"run-{run}", **self.options)

    def best(self) -> _Saved | None:
        """The first of those with the best score."""
        sign = -1 if self.mode == "min" else 1
        scored = [one for one in self.saved if one.score is not None and not math.isnan(one.score)]
        return max(scored, key=lambda one: sign * (one.score or 0.0), default=None) if self.mode else None

    @stateful.rule(seed=SEEDS, ahead=st.integers(1, 3), score=st.none() | st.floats(-2, 2) | st.just(math.nan))
    def save(self, seed: int, ahead: int, score: float | None) -> None:
        """A few steps of the run, and its checkpoint."""
        self.state, self.step = _other(self.state, seed), self.step + ahead
        assert self.checkpoints.save(self.state, self.step, None if score is None else {"score": score})
        before = [one for one in self.saved if one.step == self.step]
        known = before[0].score if before and score is None else score
        self.saved = [one for one in self.saved if one not in before]
        self.saved.append(_Saved(self.step, known, copied(self.state)))
        if self.keep is not None:
            best, last = self.best(), self.saved[-self.keep :]
            self.saved = [one for one in self.saved if any(one is other for other in (*last, best))]

    @stateful.precondition(lambda machine: machine.saved)
    @stateful.rule(seed=SEEDS, which=st.sampled_from(["last", "best", "step"]), place=PLACES)
    def restore(self, seed: int, which: str, place: int) -> None:
        """Restore, and go on from there if it is the last."""
        if which == "best" and self.mode is None:
            return
        if which == "last":
            self.go_on(seed)
            return
        wanted = self.best() if which == "best" else self.saved[place % len(self.saved)]
        step = "best" if which == "best" or wanted is None else wanted.step
        self.found(seed, step, wanted if wanted is not None and wanted.is_whole else None)

    @stateful.precondition(lambda machine: machine.saved)
    @stateful.rule(seed=SEEDS, what=st.sampled_from(["nothing", "a file", "the list"]), part=st.floats(0, 0.99))
    def start_again(self, seed: int, what: str, part: float) -> None:
        """A new process, after an accident to the folder."""
        self.checkpoints.close()
        if what == "a file":
            path = self.checkpoints.folder / f"step-{self.saved[-1].step}{self.options['suffix']}"
            os.truncate(
                path, min(int(part * path.stat().st_size), path.stat().st_size - 1) if path.stat().st_size else 0
            )
            self.saved[-1].is_whole = False
        if what == "the list":
            for age, one in enumerate(self.saved):  # without the list, the age of files is their order
                os.utime(self.checkpoints.folder / f"step-{one.step}{self.options['suffix']}", (age + 1, age + 1))
                one.score = None
            (self.checkpoints.folder / "checkpoints.json").unlink(missing_ok=True)  # it may have been lost before
        self.open(self.runs)
        self.go_on(seed)

    def go_on(self, seed: int) -> None:
        """Restore the last whole checkpoint; without one, begin in a new folder."""
        whole = [one for one in self.saved if one.is_whole]
        if self.found(seed, None, whole[-1] if whole else None):
            self.state, self.step = copied(whole[-1].state), whole[-1].step
        else:
            self.checkpoints.close()
            self.saved = []
            self.open(self.runs + 1)

    def found(self, seed: int, step: int | str | None, wanted: _Saved | None) -> bool:
        """Check that `restore` gives the state that is wanted, or the error that is due if there is none."""
        example = _other(self.state, seed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                state = self.checkpoints.restore(like=example, step=step)
            except FileError:
                assert wanted is None, f"restore(step={step!r}) found nothing, but step {wanted.step} is whole"
                return False
        assert wanted is not None, f"restore(step={step!r}) gave a checkpoint, but none is whole"
        _same(state, wanted.state, f"states restored from step {wanted.step}")
        after = self.saved[self.saved.index(wanted) + 1 :] if step is None else []
        warned = [str(one.message) for one in told if isinstance(one.message, CheckpointWarning)]
        assert len(warned) == len(after), f"{len(after)} damaged files, but these warnings: {warned}"
        return True

    @stateful.invariant()
    def folder_and_list_agree(self) -> None:
        """The folder holds what the list says, and both are what the model expects."""
        steps = [one.step for one in self.checkpoints.all()]
        assert steps == [one.step for one in self.saved], f"steps {steps} are listed"
        if steps:
            names = {f"step-{step}{self.options['suffix']}" for step in steps}
            there = {path.name for path in self.checkpoints.folder.iterdir()} - {"checkpoints.json"}
            assert there == names, f"the folder holds {', '.join(sorted(there))}"
        if self.mode:
            best, known = self.checkpoints.best(), self.best()
            assert (best and best.step) == (known and known.step), f"{best} counts as the best"

    def teardown(self) -> None:
        """End the writing, then remove the folder."""
        if hasattr(self, "checkpoints"):
            self.checkpoints.close()
        super().teardown()


def tree_machine(trees: Strategy, *, formats: Sequence[str] = FORMATS) -> type[TreeMachine]:
    """A `TreeMachine` for trees of your own: `TestModels = tree_machine(models).TestCase`, which pytest and unittest run."""
    return type("Trees", (TreeMachine,), {"trees": trees, "formats": formats})


def checkpoint_machine(states: Strategy, *, formats: Sequence[str] = FORMATS) -> type[CheckpointMachine]:
    """A `CheckpointMachine` for states of your own: `TestRuns = checkpoint_machine(states).TestCase`."""
    return type("Checkpoints", (CheckpointMachine,), {"states": states, "formats": formats})
