"""List the examples, each with the first sentence of its file: `python -m fdezero.examples`."""

import ast
import difflib
import os
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def examples(folder: Path = FOLDER) -> dict[str, str]:
    """What each example does, by name. Files are read, not imported: an example may need what is missing."""
    files = sorted(folder.glob("[!_]*.py"))
    docstrings = {file.stem: ast.get_docstring(ast.parse(file.read_text("utf-8"))) for file in files}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def listing() -> str:
    commands = {f"python -m fdezero.examples.{name}": text for name, text in examples().items()}
    width = max(map(len, commands))
    lines = [f"  {command:{width}}  {text}" for command, text in commands.items()]
    closing = f"Each shows its options with --help. The files are in {FOLDER}"
    return "\n".join(["The examples of fdezero:", "", *lines, "", closing])


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        try:
            print(listing(), flush=True)
        except BrokenPipeError:  # a reader such as `head` has enough: the rest goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
    elif (name := sys.argv[1]) in examples():
        del sys.argv[1]
        runpy.run_module(f"fdezero.examples.{name}", run_name="__main__", alter_sys=True)
    else:
        close = difflib.get_close_matches(name, examples(), 1)
        hint = f"did you mean {close[0]}? " if close else ""
        where = "python -m fdezero.examples lists them"
        print(f"error: there is no example {name!r}: {hint}{where}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
