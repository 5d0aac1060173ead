"""Mutants that change nothing that matters: (file, its line, the line changed) -> why. They are not drawn again."""

ACCEPTED: dict[tuple[str, str, str], str] = {}
