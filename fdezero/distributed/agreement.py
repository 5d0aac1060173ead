"""What ranks compare before they talk: their calls of collectives, and words for how they differ."""

import hashlib
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from ..errors import DisagreementError, WaitingError
from ..messages import describe

__all__ = ["Call", "Place", "call_of", "disagreement", "ended", "first_difference", "listed", "waiting"]

SHOWN = 3  # leaves that a message names
ADVICE = (
    " All ranks of a world call the same collectives, in the same order, with trees of the same structure, shapes and dtypes. "
    "Look for a branch or a loop that depends on the rank, or on data that differs between ranks."
)


@attrs.frozen
class Call:
    """One call of a collective. `paths` and `leaves` say what travels, `structure` in which containers."""

    name: str
    settings: str = ""
    paths: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    structure: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.settings})"

    @property
    def digest(self) -> int:
        """A number that is the same on all ranks, unlike Python's hash: 62 bits."""
        words = repr((self.name, self.settings, self.paths, self.leaves, self.structure))
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") >> 2


def call_of(collective: Any, arrays: Sequence[Any]) -> Call:
    """The call of a collective of `ops/collectives.py` on arrays."""
    if isinstance(collective, Call):
        return collective
    name = collective.setting
    settings = "" if name == "name" else f"{name}={getattr(collective, name)!r}"
    treedef = collective.tree
    if treedef is not None and treedef.num_leaves == len(arrays):
        paths, structure = ["/".join(map(str, path)) for path in treedef.paths()], _containers(treedef)
    else:  # of a derivative, which may need only some of the leaves
        paths, structure = [f"leaf {i}" for i in range(len(arrays))], ""
    return Call(collective.name, settings, tuple(paths), tuple(map(describe, arrays)), structure)


def _containers(treedef: Any) -> str:
    """The types of all containers. Their static fields do not count: a world, for example, differs from rank to rank."""
    children = [_containers(child) for child in treedef.children()]
    name = getattr(treedef.type, "__name__", "")
    return f"{name}({', '.join(children)})" if children else name or "*"


@attrs.frozen
class Place:
    """Where a rank is: the `number`-th collective of a world, called at the user's line `where`."""

    call: Call
    number: int
    where: str


def listed(ranks: Iterable[int]) -> str:
    """`rank 3`, `ranks 0 and 2`, `ranks 0-3 and 7`."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    parts = []
    for run in runs:
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(rank) for rank in run]
    words = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + "".join(parts[-1:])
    return ("rank " if parts == [words] and "-" not in words else "ranks ") + words


def disagreement(places: Mapping[int, Place]) -> DisagreementError:
    """The error for ranks that meet with different calls."""
    calls = {rank: place.call for rank, place in places.items()}
    if len(_groups(calls, str)) > 1:
        texts = _groups(places, _named)
        numbers = {place.number for place in places.values()}
        which = f" as number {min(numbers)}" if len(numbers) == 1 else ""
        return DisagreementError(f"The ranks do not call the same collective{which}: {_said(texts, 'calls')}.{ADVICE}")
    name = next(iter(calls.values())).name
    lines = _groups(places, lambda place: place.where)
    at = (
        f" at {next(iter(lines))}"
        if len(lines) == 1
        else f" ({'; '.join([f'{listed(r)} at {w}' for w, r in lines.items()])})"
    )
    if len(_groups(calls, lambda call: frozenset(call.paths))) > 1:
        return DisagreementError(
            f"{name}{at}: the trees of the ranks have different leaves. {_missing(calls)}.{ADVICE}"
        )
    leaves = {rank: dict(zip(call.paths, call.leaves, strict=True)) for rank, call in calls.items()}
    by_path = {path: _groups(leaves, operator.itemgetter(path)) for path in next(iter(leaves.values()))}
    different = {path: groups for path, groups in by_path.items() if len(groups) > 1}
    if different:
        said = [f"{path or 'the value'} is {_said(groups, '')}" for path, groups in different.items()][:SHOWN]
        more = f", and {len(different) - SHOWN} leaves more differ" if len(different) > SHOWN else ""
        return DisagreementError(f"{name}{at}: the leaves of the ranks differ: {'; '.join(said)}{more}.{ADVICE}")
    texts = _groups(calls, lambda call: call.structure)
    if len(texts) > 1:
        return DisagreementError(
            f"{name}{at}: the leaves of the ranks stand in different containers: {_said(texts, 'has')}.{ADVICE}"
        )
    steps = _groups(places, lambda place: f"its collective number {place.number}")
    return DisagreementError(f"{name}{at}: the ranks are not at the same step: {_said(steps, 'is at')}.{ADVICE}")


def first_difference(calls: Mapping[int, Mapping[int, Place]]) -> DisagreementError:
    """The error for ranks whose calls differ, now or earlier. `calls` has the latest calls of each rank by their numbers."""
    for number in sorted(set.intersection(*[set(of) for of in calls.values()])):
        then = {rank: of[number] for rank, of in calls.items()}
        if len(_groups(then, lambda place: place.call)) > 1:
            return disagreement(then)
    return disagreement({rank: of[max(of)] for rank, of in calls.items()})


def ended(places: Mapping[int, Place], gone: Mapping[int, int]) -> DisagreementError:
    """The error for ranks that wait while others, `gone` with their numbers of collectives, are at the end of the script."""
    left = _groups(gone, lambda count: f"after {count} collectives" if count != 1 else "after 1 collective")
    texts = _groups(places, lambda place: f"{place.call} at {place.where}, collective number {place.number}")
    one = len(gone) == 1
    return DisagreementError(
        f"{_said(left, 'ended its script' if one else 'ended')}, but {_said(texts, 'waits for it in' if one else 'waits for them in')}. "
        "All ranks take the same number of steps. Look for a rank with more batches, or with a loop or a script that ends early."
    )


def uneven(counts: Mapping[int, int]) -> DisagreementError:
    """The error for ranks that end with different numbers of collectives, `counts`, of which too little is known."""
    texts = _groups(counts, lambda count: f"{count} collectives" if count != 1 else "1 collective")
    return DisagreementError(
        f"the ranks ended after different numbers of collectives: {_said(texts, 'called')}.{ADVICE}"
    )


def waiting(
    places: Mapping[int, Place],
    elsewhere: Mapping[int, Place],
    silent: Mapping[int, str],
    limit: float,
    before: Place | None,
) -> WaitingError:
    """The error for a collective that waited longer than the limit.

    `places` are the ranks that wait in it, `elsewhere` those that wait in another collective; `silent` are all others, with what
    they run, if they could say so. `before` is the last collective that they all completed.
    """
    texts = _groups(places, _named)
    parts = [f"{_said(texts, 'waited in')} longer than the limit of {limit:g} s"]
    if silent:
        parts[0] += f" for {listed(silent)}, which did not come"
        known = {f"at {where}": ranks for where, ranks in _groups(silent, str).items() if where}
        parts += [_said(known, "is")] if known else []
    if elsewhere:
        parts += [_said(_groups(elsewhere, _named), "waits in")]
    if not silent and not elsewhere:
        parts += ["All ranks have come, so their messages do not arrive: is a network or a machine down?"]
    if before is not None:
        parts += [
            f"The last collective that all ranks completed was number {before.number}, {before.call} at {before.where}"
        ]
    parts += ["The limit is set by fd.distributed.world(limit=...), in seconds"]
    return WaitingError(" ".join([part[0].upper() + part[1:] + ("" if part.endswith("?") else ".") for part in parts]))


def _named(place: Place) -> str:
    return f"{place.call} at {place.where}"


def _groups(found: Mapping[int, Any], say: Callable[[Any], Hashable]) -> dict[Any, list[int]]:
    """Ranks by what `say` says of their value, in the order of their first rank."""
    groups: dict[Any, list[int]] = {}
    for rank in sorted(found):
        groups.setdefault(say(found[rank]), []).append(rank)
    return groups


def _said(groups: Mapping[str, list[int]], verb: str) -> str:
    """`rank 0 calls A, ranks 1-3 call B`; without a verb `A on rank 0, B on ranks 1-3`."""
    if not verb:
        return " and ".join([f"{text} on {listed(ranks)}" for text, ranks in groups.items()])
    first, _, rest = verb.partition(" ")
    plural = {"has": "have", "is": "are", "waits": "wait", "calls": "call"}.get(first, first) + (
        f" {rest}" if rest else ""
    )
    return ", ".join(
        [f"{listed(ranks)} {verb if len(ranks) == 1 else plural} {text}" for text, ranks in groups.items()]
    )


def _missing(calls: Mapping[int, Call]) -> str:
    """Which leaves only some ranks have."""
    union = dict.fromkeys([path for rank in sorted(calls) for path in calls[rank].paths])
    paths = {rank: set(call.paths) for rank, call in calls.items()}
    having = {path: tuple([rank for rank in sorted(calls) if path in paths[rank]]) for path in union}
    by_ranks: dict[tuple[int, ...], list[str]] = {}
    for path, ranks in having.items():
        if len(ranks) < len(calls):
            by_ranks.setdefault(ranks, []).append(path or "the value itself")
    said = []
    for ranks, names in by_ranks.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        said.append(f"Only {listed(ranks)} {'has' if len(ranks) == 1 else 'have'} {', '.join(names[:SHOWN])}{more}")
    return ". ".join(said)
