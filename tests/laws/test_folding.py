"""Folded tests lose nothing: every case runs, failures and skips are named, and each outcome is recorded."""

from typing import Any

import pytest

from . import folding
from .folding import Together, folded


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[folding.Ran]:
    monkeypatch.setattr(folding, "RAN", [])
    return folding.RAN


def planted(number: int, extra: str = "") -> None:
    if number % 4 == 1:
        pytest.skip(f"odd {extra}")
    assert number % 4 != 3, "three"


def test_every_case_runs_and_is_recorded_and_each_failure_is_named(ran: list[folding.Ran]) -> None:
    test = folded("number", range(8), lambda number: "all")(planted)
    with pytest.raises(ExceptionGroup, match=r"2 of 8 cases of planted \(0, 1, 2, 3, 4, 5, 6, 7\)") as caught:
        test(number=Together(range(8)), extra="x")
    assert [error.__notes__ for error in caught.value.exceptions] == [["the case: 3"], ["the case: 7"]]
    assert all(isinstance(error, AssertionError) for error in caught.value.exceptions)
    assert [(entry.case, entry.outcome) for entry in ran] == [
        (0, "passed"), (1, "skipped"), (2, "passed"), (3, "failed"), (4, "passed"), (5, "skipped"), (6, "passed"), (7, "failed"),
    ]  # fmt: skip


def test_a_skip_inside_hides_no_other_case_and_skips_alone_are_a_skip(ran: list[folding.Ran]) -> None:
    test = folded("number", range(8), str)(planted)
    test(Together((1, 2)))
    with pytest.raises(pytest.skip.Exception, match="odd y"):
        test(Together((1, 5)), "y")
    assert [entry.outcome for entry in ran] == ["skipped", "passed", "skipped", "skipped"]


def test_a_single_case_runs_as_without_folding(ran: list[folding.Ran]) -> None:
    test: Any = folded("number", range(8), str)(planted)
    test(2)
    with pytest.raises(AssertionError, match="three"):
        test(3)
    assert ran == []


def test_groups_hold_each_case_once_in_its_order() -> None:
    test: Any = folded("number", range(8), lambda number: str(number % 3))(planted)
    (mark,) = test.pytestmark
    assert mark.args[1] == [(0, 3, 6), (1, 4, 7), (2, 5)]
    assert mark.kwargs["ids"] == ["0", "1", "2"]
