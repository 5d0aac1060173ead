"""The documents: their code runs, and what it prints or raises is what they say. Run as a program, writes the messages anew."""

import contextlib
import doctest
import linecache
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ERRORS = ROOT / "docs" / "errors.md"
CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
MISTAKE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<message>.*?)```\n)?", re.DOTALL)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def message_of(code: str, names: dict[str, object]) -> str:
    """What the code raises, as a traceback ends, after its cause if it has one; nothing if it raises nothing."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "cupy", None)  # as on a machine without it
            patch.setitem(linecache.cache, "train.py", (len(code), None, code.splitlines(keepends=True), "train.py"))
            exec(compile(code, "train.py", "exec"), names)
    except Exception as error:
        return CAUSED.join(f"{type(e).__name__}: {e}\n" for e in (error.__cause__, error) if e)
    return ""


def with_messages(text: str) -> str:
    """The document with the message of every block of code below it."""
    names: dict[str, object] = {}

    def shown(match: re.Match[str]) -> str:
        message = message_of(match["code"], names)
        return f"```python\n{match['code']}```\n" + (f"\n```text\n{message}```\n" if message else "")

    return MISTAKE.sub(shown, text)


def test_messages_are_those_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    mistakes = list(MISTAKE.finditer(read(ERRORS)))
    silent = [match["code"] for match in mistakes if match["message"] is None]
    assert len(mistakes) > 10
    assert len(silent) == 1, "only the first block, which sets the scene, raises nothing"
    for match in mistakes:
        assert message_of(match["code"], names) == (match["message"] or ""), match["code"]


@pytest.mark.parametrize("document", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_sessions_print_what_they_say(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = read(ROOT / "docs" / document)
    sessions = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    assert "tour" not in document or len(sessions) > 5
    assert len(sessions) == text.count("```pycon")
    if sessions:
        test = doctest.DocTestParser().get_doctest("\n".join(sessions), {}, document, document, 0)
        report: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
        assert not report, "".join(report)


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / ".github" / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", read(path)):
            assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"


if __name__ == "__main__":
    found = read(ERRORS)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        new = with_messages(found)
    ERRORS.write_text(new, encoding="utf-8", newline="\n")
    print(f"{ERRORS.relative_to(os.getcwd())}: {'written anew' if new != found else 'nothing new'}")
