"""The lines of the doctor's report."""

from typing import NamedTuple

GOOD, ABSENT, BAD = "ok", "--", "!!"


class Finding(NamedTuple):
    """A line of the report: `ok`, `--` for what is absent but not needed, `!!` for what should be mended."""

    mark: str
    text: str
