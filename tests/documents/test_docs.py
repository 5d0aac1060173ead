"""The code in the documents runs and prints the text shown. As a program, this file writes that text again."""

import contextlib
import doctest
import io
import linecache
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ..native.compilers import HAS_COMPILER

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "docs" / "reference" / "errors.md"
ON_RANKS = ROOT / "docs" / "guides" / "processes.md"  # its scripts run in tests/distributed/test_guide.py
PRINTING = [ROOT / "docs" / "index.md", ROOT / "docs" / "guides" / "compile.md", ROOT / "docs" / "inside" / "compile.md"]
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
TOY = sorted((ROOT / "docs" / "learn" / "toy").glob("*.md"))  # whose listings and sessions belong together: test_toy.py
ON_A_GPU, NATIVE = "# gpu.py\n", "# native.py\n"
OF_OTHERS = "```python\n# (DeZero|autograd|JAX|PyTorch)\n"  # programs that test_elsewhere.py and test_dezero_page.py run
CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
MISTAKE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<message>.*?)```\n)?", re.DOTALL)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def message_of(code: str, names: dict[str, object]) -> str:
    """The last lines of the code's traceback, after the cause if there is one; empty if the code does not raise."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "cupy", None)  # as on a machine without it
            patch.setitem(linecache.cache, "train.py", (len(code), None, code.splitlines(keepends=True), "train.py"))
            exec(compile(code, "train.py", "exec"), names)
    except Exception as error:
        return CAUSED.join(f"{type(e).__name__}: {e}\n" for e in (error.__cause__, error) if e)
    return ""


def shown_by(code: str, names: dict[str, object]) -> str:
    """The output or the error of a block."""
    name = match[1] if (match := re.match(r"# (\w+\.py)\n", code)) else "example.py"
    printed = io.StringIO()
    try:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setitem(linecache.cache, name, (len(code), None, code.splitlines(keepends=True), name))
            exec(compile(code, name, "exec"), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n"
    return printed.getvalue()


def with_messages(text: str, told: Callable[[str, dict[str, object]], str]) -> str:
    """The document with the output of every block of code below the block."""
    names: dict[str, object] = {"__name__": "example"}

    def shown(match: re.Match[str]) -> str:
        if match["code"].startswith(ON_A_GPU):
            return match[0]
        message = told(match["code"], names)
        return f"```python\n{match['code']}```\n" + (f"\n```text\n{message}```\n" if message else "")

    return MISTAKE.sub(shown, text)


def test_messages_are_those_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    mistakes = list(MISTAKE.finditer(read(ERRORS)))
    silent = [match["code"] for match in mistakes if match["message"] is None]
    assert len(mistakes) > 10
    assert "NameError" not in read(ERRORS), "a block uses a name that no block before it defines"
    assert len(silent) == 1, "only the first block, which sets the scene, raises nothing"
    assert len(mistakes) == read(ERRORS).count("```python"), "a block of code stands apart from its message"
    alone = len(re.findall("^```text", read(ERRORS), re.MULTILINE)) - len(mistakes) + len(silent)
    assert alone == 0, "a message stands apart from its block of code"
    for match in mistakes:
        assert message_of(match["code"], names) == (match["message"] or ""), match["code"]


@pytest.mark.parametrize("page", PRINTING, ids=["start", "guide", "inside"])
def test_pages_show_what_their_code_prints(page: Path) -> None:
    assert "NameError" not in read(page), "a block uses a name that no block before it defines"
    names: dict[str, object] = {"__name__": "example"}
    blocks = [match for match in MISTAKE.finditer(read(page)) if not match["code"].startswith(ON_A_GPU)]
    on_a_gpu = read(page).count(f"```python\n{ON_A_GPU}")  # test_compile_kernels_of_functions.py runs these on a stand-in for a GPU.
    assert len(blocks) == read(page).count("```python") - on_a_gpu
    for match in blocks:
        if match["code"].startswith(NATIVE) and not HAS_COMPILER:
            continue
        assert shown_by(match["code"], names).strip() == (match["message"] or "").strip(), match["code"]


def test_all_other_python_is_a_session() -> None:
    for path in DOCUMENTS:
        text = re.sub(OF_OTHERS, "", read(path))
        assert path in (ERRORS, ON_RANKS, *PRINTING, *TOY) or "```python" not in text, f"{path.name}: write a session, ```pycon, which is run"


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT / "docs")) for path in DOCUMENTS if path not in TOY])
def test_sessions_print_what_they_say(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    if document.endswith("export.md"):
        pytest.importorskip("onnxruntime")
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
    paths = [ROOT / "README.md", ROOT / "tests" / "README.md", ROOT / ".github" / "CONTRIBUTING.md", *DOCUMENTS]
    prose = {path: re.sub(r"^```.*?^```", "", read(path), flags=re.DOTALL | re.MULTILINE) for path in paths}
    links = [(path, *link) for path in paths for link in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", prose[path]) if "://" not in link[0]]
    assert len(links) > 20
    for path, target, section in links:
        if target.startswith("made/"):  # a picture that the build of the site makes
            continue
        there = path.parent / target if target else path
        assert there.exists(), f"{path.name} links to {target}"
        titles = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", read(there) if section else "", re.MULTILINE)]
        assert not section or section in titles, f"{path.name} links to the section {section} of {there.name}"


def test_the_readme_leads_to_the_documents() -> None:  # tests/site compares the lists of pages with the files
    assert "](docs/index.md)" in read(ROOT / "README.md")


if __name__ == "__main__":
    for document, told in ((ERRORS, message_of), *[(page, shown_by) for page in PRINTING]):
        found = read(document)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            new = with_messages(found, told)
        document.write_text(new, encoding="utf-8", newline="\n")
        print(f"{document.relative_to(os.getcwd())}: {'written anew' if new != found else 'nothing new'}")
