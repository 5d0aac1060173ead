"""The site without a build: every public name has its entry, every page is in one index, links lead to the repository."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import fdezero as fd

from ..profiles import nightly
from . import links as built

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
from _site import gallery, indexes, links, names, pages, reference, signatures  # noqa: E402, found through the line above

sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """The pages of the reference."""
    return reference.pages()


def test_every_public_name_has_one_entry(written: dict[str, str]) -> None:
    heads = Counter(
        f"{module}.{re.split(r'[(]', head)[0].strip()}"
        for text in written.values()
        for head, module in re.findall(r"^`{3,}\{py:\w+\} (.+)\n(?::\w+:\n)*:module: (\S+)$", text, re.MULTILINE)
    )
    public = names.documented()
    assert len(public) > 900
    assert [name for name in public if heads[name] != 1] == []
    assert {f"fdezero.{name}" for name in fd.__all__} <= {*public, *(module.__name__ for module in names.modules())}


def test_every_module_that_users_reach_has_a_page(written: dict[str, str]) -> None:
    expected = {"fdezero", "fdezero.data.transforms", "fdezero.errors", "fdezero.numpy.fft", "fdezero.numpy.linalg", "fdezero.training"}
    assert expected <= {module.__name__ for module in names.modules()}
    assert written.keys() == {"index.myst", *(f"{module.__name__}.myst" for module in names.modules())}
    for module in names.modules():
        assert f"]({module.__name__}.myst)" in written["index.myst"]


def test_every_name_is_in_one_section() -> None:
    for module in names.modules():
        found = names.sections(module)
        assert all(found.values()), f"{module.__name__} has a title without names"
        assert sorted(name.name for section in found.values() for name in section) == sorted(name.name for name in names.names(module))


def test_entries_show_what_users_call(written: dict[str, str]) -> None:
    assert "{py:function} grad(function, argnums=0, *, has_aux=False" in written["fdezero.myst"]
    assert "{py:function} sin(x0, /)" in written["fdezero.numpy.myst"]
    assert "{py:method} init(key, in_size, hidden_size" in written["fdezero.nn.myst"].partition("{py:class} LSTM(")[2].partition("{py:class}")[0]
    assert "{py:method} norm.logpdf(" in written["fdezero.stats.myst"]
    assert "{py:class} adam(lr=0.001, b1=0.9" in written["fdezero.optim.myst"]
    assert "{py:data} pi" in written["fdezero.numpy.myst"]
    text = "\n".join(written.values())
    assert not re.search(r" at 0x[0-9a-f]+|<function|<class|NOTHING", text), "a default value without readable form"
    assert "\nRaises:\n" not in text


def test_defaults_are_shown_as_code() -> None:
    thing = object()

    def function(x, /, *args, dtype=float, act=abs, size=(1, "a"), thing=thing, **options): ...

    assert signatures.signature(function) == "(x, /, *args, dtype=float, act=abs, size=(1, 'a'), thing=..., **options)"
    assert signatures.signature(3) == ""


def test_code_that_is_a_public_name_is_meant() -> None:
    known = names.documented()
    meant = {"fd.grad": "fdezero.grad", "F.relu": "fdezero.functions.relu", "optim.adam(1e-3)": "fdezero.optim.adam", "fd.numpy.sin": "fdezero.numpy.sin"}
    assert {text: names.meant(text, known) for text in meant} == meant
    assert not any(names.meant(text, known) for text in ("grad", "np.sin", "fd.nothing", "fd.grad(f)(x) + 1", "x.sum()", "fd"))


def test_every_page_is_in_exactly_one_index() -> None:
    found = Counter((index.parent / target).resolve() for index, groups in indexes.indexes().items() for listed in groups.values() for _, target in listed)
    written = [path for path in DOCS.rglob("*.md") if path != DOCS / "index.md"]
    assert {path.relative_to(DOCS).as_posix(): found[path] for path in written if found[path] != 1} == {}
    assert found.keys() <= set(written)


def test_lists_become_navigation() -> None:
    text = "- [Alone](no.md)\n\n**A group**\n\n- [`One` page](a/one.md): see [another](b.md)\n- **Bold.** [inside](c.md)\n```\n- [code](d.md)\n```\n## Other\n| [Two](two.md) | x |\n"
    groups = {"": [("Alone", "no.md")], "A group": [("One page", "a/one.md")], "Other": [("Two", "two.md")]}
    assert indexes.groups(text) == groups
    assert ":caption: A group\n\nOne page <a/one>\n" in indexes.navigation(groups, top=True)
    assert "caption" not in indexes.navigation(groups, top=False)
    assert "reference/api/index\nErrors <e>" in indexes.navigation({"Reference": [("Errors", "e.md")]}, top=True)


def test_links_out_of_the_documents_lead_to_the_repository() -> None:
    page = DOCS / "learn" / "training.md"
    there = f"{links.REPOSITORY}/blob/main"
    text = "[a `b`](../../fdezero/errors.py#L3) [c](../../.github/CONTRIBUTING.md) [d](tour.md#files) ![e](made/e.svg)\n```sh\n[f](../../README.md)\n```\n"
    expected = text.replace("../../fdezero/errors.py", f"{there}/fdezero/errors.py").replace("../../.github", f"{there}/.github")
    assert links.rewritten(text, page) == expected
    assert links.rewritten("[x](../../tests)", page) == f"[x]({links.REPOSITORY}/tree/main/tests)"
    assert links.rewritten("```pycon\n>>> 1\n1\n\n```\n", page) == "```pycon\n>>> 1\n1\n```\n"


def test_pictures_are_made_again_when_their_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "one.md").write_text("![A](made/one.png)\n![B](made/one-b.svg)\n")
    (tmp_path / "gallery" / "two.md").write_text("no picture\n")
    ((example, files),) = gallery.pictures(tmp_path).items()
    assert (example, [file.name for file in files]) == ("one", ["one.png", "one-b.svg"])
    monkeypatch.setattr(gallery, "EXAMPLES", tmp_path)
    for name in ("one.py", "_terminal.py"):
        (tmp_path / name).write_text("1")
    assert not gallery.are_made("one", files, quick=False)
    files[0].parent.mkdir()
    for file in files:
        file.touch()
    gallery.note("one", files).write_text(gallery.state("one", quick=False))
    assert gallery.are_made("one", files, quick=False)
    assert gallery.are_made("one", files, quick=True), "a full picture serves a quick build"
    gallery.note("one", files).write_text(gallery.state("one", quick=True))
    assert not gallery.are_made("one", files, quick=False)
    assert gallery.are_made("one", files, quick=True)
    (tmp_path / "one.py").write_text("2")
    assert not gallery.are_made("one", files, quick=True)


def test_lists_of_examples_become_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "pictures", lambda: {"one": [Path("made/one.svg"), Path("made/b.svg")]})
    text = "A\n\n- [`one`](one.md): first\n  line\n- [two](two.md): second\n\nB\n"
    first = "[![one](made/one.svg)](one.md)<br>[**`one`**](one.md): first\n  line"
    assert gallery.with_tiles(text) == f'A\n\n<div class="tiles">\n\n{first}\n\n[**two**](two.md): second\n\n</div>\n\nB\n'
    chosen = "[![one](gallery/made/one.svg)](gallery/one.md)<br>[**one**](gallery/one.md)"
    assert gallery.with_chosen("<!-- pictures: none one -->") == f'<div class="tiles">\n\n{chosen}\n\n</div>\n'


def test_pages_have_a_language() -> None:
    assert [pages.language_of(page) for page in ("index", "ja/index", "learn/jax", "ja/dezero")] == ["en", "ja", "en", "ja"]
    assert pages.WORDS.keys() == set(pages.LANGUAGES.values())


def test_every_picture_of_the_gallery_has_its_example() -> None:
    found = gallery.pictures()
    assert found
    assert all((gallery.EXAMPLES / f"{example}.py").exists() for example in found)


def test_the_check_of_a_built_site_sees_faults(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a id="x" href="b.html#y">b</a><a id="x" href="c.html">c</a><img src="d.png"><script src="https://e.org/f.js"></script>')
    (tmp_path / "b.html").write_text('<p id="z"></p><a href="a.html#x">a</a><a href="https://e.org">e</a>')
    assert list(built.faults(tmp_path)) == [
        "a.html: the anchor x twice",
        "a.html: the image d.png has no words for those who cannot see it",
        "a.html: b.html#y has no such anchor",
        "a.html: c.html is missing",
        "a.html: d.png is missing",
        "a.html: loads https://e.org/f.js from another host",
    ]


def test_the_workflow_builds_what_contributors_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    workflow = (ROOT / ".github" / "workflows" / "site.yml").read_text("utf-8")
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    configuration = (DOCS / "conf.py").read_text("utf-8")
    assert f'html_baseurl = "{project["urls"]["Documentation"]}"' in configuration
    for text in (workflow, guide):
        assert "-m sphinx -W" in text
        assert ".[docs]" in text
        assert "-m tests.site build/site" in text
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"docs/reference/api/", "docs/gallery/made/"} <= set(ignored)


def test_names_in_the_column_of_another_library_are_not_ours() -> None:
    nodes = pytest.importorskip("docutils.nodes")
    cells = [[nodes.entry("", nodes.paragraph("", "", nodes.literal("", text))) for text in row] for row in (("JAX", "", "here"), ("nn.relu", "a", "F.relu"))]
    head, row = (nodes.row("", *entries) for entries in cells)
    nodes.table("", nodes.tgroup("", nodes.thead("", head), nodes.tbody("", row)))
    assert [reference.head_of_column(cell[0][0]) for cell in cells[1]] == ["JAX", "", "here"]
    assert reference.head_of_column(nodes.literal("", "fd.grad")) == ""


@nightly
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-D", "gallery=quick", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(built.faults(tmp_path)) == []
