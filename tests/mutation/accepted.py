"""Harmless mutants, which are not drawn again: (file, original line, changed line) -> reason."""

ACCEPTED: dict[tuple[str, str, str], str] = {}
