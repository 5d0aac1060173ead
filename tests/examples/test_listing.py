"""The list of examples, and their end without a traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fdezero.examples import __main__ as listed
from fdezero.examples import _terminal as terminal

NAMES = [*listed.examples()]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_each_example_is_listed_with_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fdezero.examples", *arguments])
    listed.main()
    out = capsys.readouterr().out
    assert "mnist" in NAMES
    for name, sentence in listed.examples().items():
        assert sentence.endswith(".")
        assert f"  python -m fdezero.examples.{name}  " in out
        assert sentence in out


def test_a_new_example_needs_its_file_alone(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text('"""Do something new.\n\nAnd more."""\nimport not_installed\n')
    (tmp_path / "_shared.py").write_text('"""No example."""\n')
    assert listed.examples(tmp_path) == {"new": "Do something new."}


def test_an_example_runs_by_its_name() -> None:
    """All have the same law for `--help` in test_gallery.py, in one process."""
    name = "mnist"
    command = [sys.executable, "-m", "fdezero.examples", name, "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: python -m fdezero.examples.{name} ")
    assert listed.examples()[name] in " ".join(ended.stdout.split())


@pytest.mark.parametrize(("name", "hint"), [("minst", "did you mean mnist? "), ("zzz", "")])
def test_an_example_that_does_not_exist_is_explained(
    name: str, hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fdezero.examples", name])
    with pytest.raises(SystemExit) as ended:
        listed.main()
    assert ended.value.code == 2
    message = f"error: there is no example {name!r}: {hint}python -m fdezero.examples lists them\n"
    assert capsys.readouterr() == ("", message)


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError("no file"), 2, "error: no file\n"),
        (MemoryError("Unable to allocate 7 TiB"), 2, "error: Unable to allocate 7 TiB\n"),
        (KeyboardInterrupt(), 130, "interrupted: nothing was saved\n"),
    ],
)
def test_a_program_ends_without_a_traceback(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "SAVED", [])
    with pytest.raises(SystemExit) as ended:
        terminal.run(raising(error))
    assert ended.value.code == code
    assert capsys.readouterr().err == said


def test_an_interrupted_program_does_not_deny_what_it_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "SAVED", [])
    (tmp_path / "w.npz").write_bytes(bytes(1_234_567))

    def main() -> None:
        terminal.saved(tmp_path / "w.npz")
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        terminal.run(main)
    assert capsys.readouterr() == (f"saved to {tmp_path / 'w.npz'} (1,235 kB)\n", "interrupted\n")


def test_a_reader_that_stops_reading_is_no_error() -> None:
    code = "from fdezero.examples import _terminal as t; t.run(lambda: [print(i, flush=True) for i in range(100_000)] and None)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stderr
        assert program.stdout.readline() == "0\n"
        program.stdout.close()
        assert program.stderr.read() == ""


def test_a_reader_that_has_enough_of_the_list_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "fdezero.examples"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")
