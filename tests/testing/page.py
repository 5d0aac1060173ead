"""Runs the programs of the page on other frameworks, which the tests of documents leave out because CI does not have these."""

import re
from pathlib import Path

import hypothesis
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "other_frameworks.md"


def run_the_page(framework: str) -> None:
    """Run the program that begins with the framework's name. Its error must be the text below it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"```python\n# {framework}\n(.*?)```\n\n```text\n(.*?)\n```", text, re.DOTALL)
    assert found, f"the page has no program of {framework}"
    code, message = found.groups()
    few = hypothesis.settings(max_examples=10, derandomize=True, database=None)
    names: dict[str, object] = {"__name__": "page"}
    body, _, last = code.rstrip().rpartition("\n")
    exec(compile(body, "page.py", "exec"), names)
    test = names[last.removesuffix("()")]
    with pytest.raises(AssertionError) as caught:
        few(test)()  # type: ignore[arg-type]  # the program defines it
    assert f"AssertionError: {caught.value}" == message
