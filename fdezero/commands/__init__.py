"""The commands of `python -m fdezero`. Each module beside this one is a command; its first sentence says what the command does.

A command has `arguments(parser)`, which declares its arguments, and `run(options)`, which returns the exit status. What commands share
lies in `helpers/`. The statuses: 0 all is well, 1 files differ or are damaged, 2 the question could not be answered.
"""

import argparse
import difflib
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import FdezeroError
from .helpers.words import in_a_line, shown

__all__ = ["main"]

PROGRAM = "python -m fdezero"
INTERRUPTED, CLOSED = 130, 141  # what a shell says of a program that Ctrl-C or a closed pipe ended


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {shown(message)}. `{self.prog} --help` shows how to call it.\n")


def commands() -> dict[str, Any]:
    """The modules of all commands, by name."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, those of the process by default, and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    found = commands()
    if not arguments:
        width = max(map(len, found))
        print(f"usage: {PROGRAM} COMMAND ...\n")
        print("\n".join(f"  {name:{width}}  {_sentence(module)}" for name, module in found.items()))
        print(f"\n`{PROGRAM} COMMAND --help` shows how to call a command.")
        return 0
    parser = Parser(prog=PROGRAM, description="Looks into files of arrays, and at this installation.")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in found.items():
        child = parsers.add_parser(
            name,
            prog=f"{PROGRAM} {name}",
            help=_sentence(module),
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(child)
        child.set_defaults(command=name)
    if arguments[0] not in found and not arguments[0].startswith("-"):
        near = difflib.get_close_matches(arguments[0], found, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(found)}."
        print(f"{PROGRAM}: there is no command {shown(arguments[0])}: {hint}", file=sys.stderr)
        return 2
    options = parser.parse_args(arguments)
    return _run(options.command, found[options.command], options)


def _run(name: str, module: Any, options: argparse.Namespace) -> int:
    """The exit status of a command; an error becomes one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # keys that the terminal cannot show
    try:
        status = int(module.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (FdezeroError, OSError, MemoryError, ValueError, TypeError) as error:
        print(f"{PROGRAM} {name}: {in_a_line(error)}", file=sys.stderr)
        return 2


def _sentence(module: Any) -> str:
    return str(module.__doc__).partition("\n")[0].rstrip(".")
