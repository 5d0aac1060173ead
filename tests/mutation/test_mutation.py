"""Mutants are programs that differ from the original, the same for a seed; and every file has its tests."""

import ast
from pathlib import Path

import pytest

from .__main__ import PACKAGES, ROOT, stages
from .mutants import Finder, draw


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(SOURCE)
    return tmp_path


SOURCE = '''"""Words, 1 + 1."""
__all__ = ["f"]

def f(x: int = 3, *, key: str = "a < b") -> bool:
    """More words, 2 + 2."""
    if x < 0 and key:
        raise ValueError(f"{x + 1} is negative")
    y = min(x, len(key))
    y += 1
    return g(y.copy(), -x, key=True) == 2.5
'''
CHANGED = {  # every line that holds no words alone -> what may become of it
    4: {"= 4, ", "= 2, "},
    6: {"x <= 0", "x >= 0", " or ", "if ((x < 0)):", "if ((key)):", "x < 1", "x < -1", "if not (x < 0 and key):"},
    7: {"pass"},
    8: {"max(x", "min(len(key), x)"},
    9: {"pass", "-= 1", "+= 2", "+= 0"},
    10: {
        "None", "not (g(", "!= 2.5", "(2.5 * 2)", "g(y, ", "g(-x, y.copy(), ", "g(y.copy(), x, ", "key=False", "-x) =="
    },
}  # fmt: skip


def test_every_mutant_is_one_of_those_that_a_reader_would_plant() -> None:
    source = SOURCE.encode()
    found: dict[int, set[str]] = {}
    for mutant in Finder(Path("module.py"), source).mutants:
        _, before, after = mutant.known(source)
        assert before == SOURCE.splitlines()[mutant.line - 1].strip() != after
        expected = [text for text in CHANGED[mutant.line] if text in after and text not in before]
        assert expected, (mutant.kind, after)
        found.setdefault(mutant.line, set()).update(expected)
        ast.parse(mutant.apply(source))
    assert found == CHANGED


def test_a_seed_draws_the_same_mutants_without_the_accepted_ones(package: Path) -> None:
    source = SOURCE.encode()
    drawn = draw(package, ["package"], 8, 0)
    assert drawn == draw(package, ["package"], 8, 0) != draw(package, ["package"], 8, 1)
    assert len({mutant.line for mutant in drawn[:5]}) == 5
    accepted = drawn[0].known(source)
    left = draw(package, ["package"], 1000, 0, [accepted])
    assert len(left) == len(draw(package, ["package"], 1000, 0)) - 1
    assert accepted not in {mutant.known(source) for mutant in left}


def test_mutants_are_shared_out_by_the_length_of_a_package() -> None:
    drawn = draw(ROOT, PACKAGES, 60, 0)
    assert len(drawn) == 60
    for mutant in drawn:
        source = (ROOT / mutant.path).read_bytes()
        assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source)), mutant
    lines = {name: sum(len(file.read_text().splitlines()) for file in (ROOT / name).rglob("*.py")) for name in PACKAGES}
    for name in PACKAGES:
        share = 60 * lines[name] / sum(lines.values())
        assert abs(sum(mutant.path.as_posix().startswith(name) for mutant in drawn) - share) <= 1


def test_every_file_has_tests_and_none_twice() -> None:
    everything = {str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")}
    for name in PACKAGES:
        for file in (ROOT / name).rglob("*.py"):
            ordered = [test for _, tests in stages(file.relative_to(ROOT), ROOT) for test in tests]
            assert set(ordered) == everything
            assert len(ordered) == len(everything)
