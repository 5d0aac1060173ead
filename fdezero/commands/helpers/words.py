"""Words on a terminal: texts of strangers, sizes, shapes."""

import os

__all__ = ["counted", "in_a_line", "in_bytes", "shown", "shown_shape"]

UNITS = ("kB", "MB", "GB", "TB")


def shown(text: object) -> str:
    """A text as it may stand on a terminal: signs that could control one, as names in a stranger's file may have, are escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text))


def in_a_line(error: BaseException) -> str:
    """What an error says, in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}"
    return shown("; ".join(part.strip() for part in text.splitlines() if part.strip()))


def in_bytes(size: float) -> str:
    """`512 B`, `1.5 kB`, `3.2 GB`."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in UNITS:
        size /= 1000
        if size < 999.95 or unit == UNITS[-1]:
            break
    return f"{size:.1f} {unit}"


def shown_shape(shape: tuple[int, ...]) -> str:
    """`[2,3]`, the form in which messages show shapes; `[]` for a number."""
    return f"[{','.join(map(str, shape))}]"


def counted(count: int, noun: str) -> str:
    """`1 array`, `2 arrays`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
