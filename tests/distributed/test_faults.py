"""A fault on one rank ends all ranks within seconds, and says which rank it was, once."""

import pytest

from ..io.test_io_saving import posix
from ..profiles import NIGHTLY, nightly
from .ranks import launch

SECONDS = 30.0  # far less than the limit of a collective, and than the 60 s for which ranks sleep; a busy machine needs some for a start

# fault -> ranks; the status that mpiexec gives; words of the message, each once. CI runs the first ones, and those of the guide.
FAULTS = {
    "raise": (2, 1, ["rank 1 of 2 ended with an error", "ValueError: a picture is damaged"]),
    "everywhere": (2, 1, ["ranks 0 and 1 of 2 ended with an error", "ValueError: a picture is damaged"]),
    "kill": (2, 9, []),
    "another order": (2, 1, ["do not call the same collective as number 4: rank 0 calls barrier() at", "rank 1 calls all_reduce(op='sum') at"]),
}
MORE = {
    "loader": (2, 1, ["rank 1 of 2 ended with an error", "ValueError: a picture is damaged"]),
    "another order by MPI": (2, 1, ["do not call the same collective as number 4: rank 0 calls barrier() at", "rank 1 calls all_reduce(op='sum') at"]),
    "another length by MPI": (2, 1, ["all_gather at faulty.py:", "the value is float64[2] on rank 0 and float64[100000] on rank 1"]),
    "crossed worlds": (4, 1, ["Ranks 0-2 waited in barrier() at faulty.py:", "Rank 3 waits in barrier() at faulty.py:"]),
    "exit": (2, 1, ["rank 0 of 2 ended with", "rank 1 ended its script after 3 collectives, but rank 0 waits for it in all_reduce(op='sum')"]),
    "hang": (2, 1, ["Rank 0 waited in all_reduce(op='sum') at faulty.py:", "limit of 2 s for rank 1, which did not come. Rank 1 is at faulty.py:"]),
    "raise": (4, 1, ["rank 3 of 4 ended with an error", "ValueError: a picture is damaged"]),
    "everywhere": (4, 1, ["of 4 ended with an error (the traceback of the first)", "ValueError: a picture is damaged"]),
    "thread": (2, 1, ["rank 1 of 2 ended with an error", "ValueError: a picture is damaged"]),
    "loader with processes": (2, 1, ["rank 1 of 2 ended with an error"]),
    "exit without an error": (4, 1, ["rank 3 ended its script after 3 collectives"]),
    "interrupt": (2, 130, ["rank 1 of 2 ended with an error", "KeyboardInterrupt"]),
    "terminate": (2, 15, []),
    "hang compiled": (4, 1, ["in all_reduce(op='mean') at faulty.py:", "limit of 2 s for rank 3, which did not come. Rank 3 is at faulty.py:"]),
    "more steps": (4, 1, ["ranks 0-2 ended after 4 collectives, but rank 3 waits for them in all_reduce(op='sum')", "collective number 5"]),
}
ENOUGH = [fault for fault in FAULTS if NIGHTLY or fault != "everywhere"]  # test_ranks.py and the guide have errors on all ranks
CASES = [(fault, *FAULTS[fault]) for fault in ENOUGH] + [(fault, *case) for fault, case in MORE.items() if NIGHTLY]


@posix
@pytest.mark.parametrize(("fault", "size", "status", "words"), CASES, ids=[f"{fault}, {size} ranks" for fault, size, *_ in CASES])
def test_a_fault_on_one_rank_ends_all(fault: str, size: int, status: int, words: list[str]) -> None:
    run = launch(size, "-m", "tests.distributed.faulty", fault, timeout=SECONDS)
    assert run.code == status, run
    for text in words:
        assert run.stderr.count(text) == 1, (text, run.stderr)
    assert run.stderr.count("ended with an error") == (1 if words else 0), run.stderr
    if "processes" not in fault and "by MPI" not in fault:  # also the worker's traceback; none, because it is found at the end
        assert run.stderr.count("Traceback") == (1 if words else 0), run.stderr
    assert "the end" not in run.stdout or fault == "more steps" or "another" in fault


@nightly
def test_a_run_without_a_fault_ends_well() -> None:
    """Also where a rank starts later than by the limit of a collective."""
    run = launch(2, "-m", "tests.distributed.faulty", "late start")
    assert (run.code, run.stdout.count("the end")) == (0, 2), run
    assert run.stderr == ""


def test_a_script_that_catches_the_error_of_a_lonely_call_ends_with_the_numbers_of_calls() -> None:
    script = """
import fdezero as fd
world = fd.distributed.world()
try:
    world.rank or world.all_reduce(1.0)
except fd.errors.DisagreementError:
    pass
"""
    run = launch(2, "-c", script, timeout=SECONDS)
    assert run.code == 1, run
    assert run.stderr.count("rank 0 called 1 collective, rank 1 called 0 collectives") == 1, run.stderr
    assert "Traceback" not in run.stderr


def test_a_rank_that_ends_before_mpi_starts_does_not_leave_the_others_waiting() -> None:
    run = launch(2, "-m", "tests.distributed.faulty", "before MPI starts", timeout=SECONDS)
    assert run.code == 1, run
    assert "ValueError: a picture is damaged" in run.stderr
    assert "in waiting_until_all_ranks_have_called_world" in run.stderr
