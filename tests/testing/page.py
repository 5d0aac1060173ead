"""Runs the programs of the pages on other frameworks, which the tests of documents leave out because CI does not have these."""

import re
from pathlib import Path

import hypothesis
import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGES = [GUIDES / "other_frameworks.md", GUIDES / "test_in_ten_minutes.md"]


def run_the_pages(framework: str) -> None:
    """Run the program of each page that begins with the framework's name. Its error must be the text below it."""
    for page in PAGES:
        found = re.search(rf"```python\n# {framework}\n(.*?)```\n\n```text\n(.*?)\n```", page.read_text(encoding="utf-8"), re.DOTALL)
        assert found, f"{page.name} has no program of {framework}"
        code, message = found.groups()
        few = hypothesis.settings(max_examples=10, derandomize=True, database=None)
        names: dict[str, object] = {"__name__": "page"}
        body, _, last = code.rstrip().rpartition("\n")
        exec(compile(body, "page.py", "exec"), names)
        test = names[last.removesuffix("()")]
        with pytest.raises(AssertionError) as caught:
            few(test)()  # type: ignore[arg-type]  # the program defines it
        assert f"AssertionError: {caught.value}" == message
