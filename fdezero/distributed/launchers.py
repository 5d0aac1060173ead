"""Launchers: what mpiexec, srun and their relatives tell a process about its place, in variables of the environment.

Nothing here imports MPI. So a process that no launcher started never pays for it, and a process can choose its GPU before MPI starts.
"""

import os
import re
import stat
import sys
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["LAUNCHERS", "Launch", "Launcher", "is_child_of_rank", "launch_of", "why_apart"]


class Launcher(NamedTuple):
    """A program that starts processes, and the variables in which it gives them their places. Empty names are not given."""

    name: str
    rank: str
    size: str
    local_rank: str = ""
    local_size: str = ""
    proof: str = ""  # a variable that must be there as well, because others set the first two
    starts_mpi: bool = True


# In the order of asking: mpiexec inside a job of Slurm sets the variables of both, and its own are right.
LAUNCHERS = (
    Launcher(
        "Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    Launcher(
        "MVAPICH",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
    Launcher("Intel MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", proof="I_MPI_HYDRA_UUID"),
    Launcher("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", proof="MPI_LOCALNRANKS"),
    Launcher("MS-MPI", "PMI_RANK", "PMI_SIZE", "MSMPI_LOCALRANK", proof="MSMPI_LOCALRANK"),
    Launcher("PALS", "PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    Launcher(
        "jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE"
    ),
    Launcher("Flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID"),
    # sbatch and salloc set rank and size as well, in the script that they start once: only a step of srun has SLURM_STEP_ID.
    Launcher(
        "srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_ID"
    ),
    Launcher("mpiexec", "PMI_RANK", "PMI_SIZE"),
    Launcher("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", starts_mpi=False),
)


# In the command lines of Python's workers.
WORKERS = re.compile(r" --multiprocessing-fork\b|\bmultiprocessing\.forkserver\b")


class Launch(NamedTuple):
    """The place of this process, as its launcher tells it. `local_size` is None where the launcher does not say."""

    launcher: Launcher
    rank: int
    size: int
    local_rank: int | None
    local_size: int | None


def launch_of(environment: Mapping[str, str] | None = None) -> Launch | None:
    """What the launcher of this process says in `environment` (default: of this process); None if no launcher started it."""
    variables = os.environ if environment is None else environment
    for launcher in LAUNCHERS:
        if launcher.proof and launcher.proof not in variables:
            continue
        rank, size = _number(variables, launcher.rank), _number(variables, launcher.size)
        if rank is not None and size is not None and rank < size:
            local_rank, local_size = (
                _number(variables, launcher.local_rank),
                _number(variables, launcher.local_size),
            )
            return Launch(launcher, rank, size, local_rank, local_size)
    return None


def is_child_of_rank() -> bool:
    """Whether a rank started this process, and no launcher: it inherits the launcher's variables, but MPI cannot start in it.

    Python's own workers know their parent, but not yet while they import the script: then their command line tells it. Others lack
    the open socket of the launcher, where the launcher has one (MPICH, Intel MPI).
    """
    workers = sys.modules.get("multiprocessing.process")
    if workers is not None and (workers.parent_process() is not None or WORKERS.search(" ".join(sys.orig_argv))):
        return True
    socket = os.environ.get("PMI_FD", "")
    if not socket.isdecimal() or "mpi4py.MPI" in sys.modules:
        return False
    try:
        return not stat.S_ISSOCK(os.fstat(int(socket)).st_mode)
    except OSError:
        return True


def _number(variables: Mapping[str, str], name: str) -> int | None:
    found = re.fullmatch(r"(\d+)(\(x\d+\))?", variables.get(name, ""))  # "4(x2)" is Slurm's: 4 on each of two machines
    return int(found[1]) if found else None


def why_apart(launch: Launch | None, size: int) -> str:
    """Why MPI sees `size` processes where the launcher started more; empty if they agree.

    Each process would train alone, and all would write the same files: the most frequent mistake of a first run on a cluster.
    """
    if launch is None or launch.size == size or size > 1:
        return ""
    name = launch.launcher.name
    started = f"{name} started {launch.size} processes, but MPI sees {size}: each would train alone."
    if not launch.launcher.starts_mpi:
        return f"{started} fdezero finds ranks by MPI: start them with mpiexec -n {launch.size} python ..., not with {name}."
    if name == "srun":
        return (
            f"{started} Choose the interface of your MPI: srun --mpi=pmix (Open MPI) or srun --mpi=pmi2 (MPICH, Intel MPI); "
            "srun --mpi=list shows what this cluster has."
        )
    return (
        f"{started} The launcher and the library of mpi4py are of two MPI installations: take the mpiexec that belongs to it, "
        "which `python -m fdezero doctor` shows."
    )
