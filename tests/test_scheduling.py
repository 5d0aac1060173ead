"""Files go to workers in an order that names files which are there."""

from pathlib import Path

import pytest

from .scheduling import LONGEST, Places, unit_of


def test_the_longest_files_exist() -> None:
    root = Path(__file__).parents[1]
    assert [name for name in LONGEST if not (root / name).exists()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_files_stay_whole_and_those_of_ranks_together() -> None:
    assert unit_of("tests/laws/test_laws.py::test_a[b::c]") == "tests/laws/test_laws.py"
    assert unit_of("tests/distributed/test_a.py::test_b") == unit_of("tests/distributed/test_c.py::test_d") == "tests/distributed"


def test_places_are_those_of_a_list() -> None:
    names = ["a", "c", "b"]
    assert Places(names) == names
    assert [Places(names).index(name) for name in names] == [0, 1, 2]
    with pytest.raises(KeyError):
        Places(names).index("d")
