"""What launchers say in the environment, and what happens where MPI says something else."""

import dataclasses
import os
import subprocess
import sys
from typing import Any

import pytest

from fdezero.distributed.launchers import LAUNCHERS, launch_of, why_apart
from tests.distributed.ranks import ROOT, launch, why_not


@dataclasses.dataclass
class Row:
    """Variables that a launcher sets in one process, and what they mean: launcher, rank, size, local rank, local size."""

    variables: str
    meaning: tuple[Any, ...] | None

    def __str__(self) -> str:
        return self.variables.partition("=")[0]


SBATCH = "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_NTASKS=8 SLURM_LOCALID=0 SLURM_TASKS_PER_NODE=4(x2)"
ROWS = [
    # Seen in the environments of Open MPI 5.0.11, Intel MPI 2021.18, MPICH 5.0.2 and Slurm 22.05 (srun and, below, sbatch).
    Row("OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=4 PMIX_RANK=5", ("Open MPI", 5, 8, 1, 4)),
    Row("I_MPI_HYDRA_UUID=f915 PMI_RANK=3 PMI_SIZE=4 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2 PMI_FD=9", ("Intel MPI", 3, 4, 1, 2)),
    Row("PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2 PMI_FD=9 PMI_HOSTNAME=a", ("MPICH", 1, 2, 1, 2)),
    Row("SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=1 SLURM_STEP_TASKS_PER_NODE=2 SLURM_NTASKS=2", ("srun", 1, 2, 1, 2)),
    # From their documents.
    Row("MV2_COMM_WORLD_RANK=1 MV2_COMM_WORLD_SIZE=4 MV2_COMM_WORLD_LOCAL_RANK=1 MV2_COMM_WORLD_LOCAL_SIZE=2", ("MVAPICH", 1, 4, 1, 2)),
    Row("MSMPI_LOCALRANK=2 PMI_RANK=2 PMI_SIZE=3", ("MS-MPI", 2, 3, 2, None)),
    Row("PALS_RANKID=9 PALS_LOCAL_RANKID=1 PALS_LOCAL_SIZE=8 PMI_SIZE=16 PMI_RANK=9", ("PALS", 9, 16, 1, 8)),
    Row("JSM_NAMESPACE_RANK=2 JSM_NAMESPACE_SIZE=6 JSM_NAMESPACE_LOCAL_RANK=2 JSM_NAMESPACE_LOCAL_SIZE=6", ("jsrun", 2, 6, 2, 6)),
    Row("FLUX_TASK_RANK=3 FLUX_JOB_SIZE=4 FLUX_TASK_LOCAL_ID=1", ("Flux", 3, 4, 1, None)),
    Row(f"SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=8 SLURM_STEP_TASKS_PER_NODE=4(x2) {SBATCH.replace('PROCID=0', 'PROCID=6').replace('LOCALID=0', 'LOCALID=2')}", ("srun", 6, 8, 2, 4)),
    Row("SLURM_STEP_ID=0 SLURM_PROCID=6 SLURM_STEP_NUM_TASKS=7 SLURM_LOCALID=2 SLURM_STEP_TASKS_PER_NODE=4,3", ("srun", 6, 7, 2, None)),
    Row("PMI_RANK=1 PMI_SIZE=4", ("mpiexec", 1, 4, None, None)),
    Row("RANK=1 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=a TORCHELASTIC_RUN_ID=none", ("torchrun", 1, 4, 1, 2)),
    # mpiexec within a job of Slurm, and started by torchrun's variables in a shell profile: the launcher of MPI is right.
    Row(f"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 {SBATCH} SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 RANK=0 WORLD_SIZE=1 LOCAL_RANK=0", ("Open MPI", 1, 2, None, None)),
    # No launcher: the script of a job, which runs once; variables of other programs; nonsense.
    Row(SBATCH, None),
    Row("RANK=0 WORLD_SIZE=4", None),
    Row("PMI_RANK=one PMI_SIZE=4", None),
    Row("PMI_RANK=4 PMI_SIZE=4", None),
    Row("OMPI_COMM_WORLD_RANK= OMPI_COMM_WORLD_SIZE=2", None),
    Row("HOME=/", None),
]  # fmt: skip


def environment(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in text.split())}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_variables_of_each_launcher(row: Row) -> None:
    found = launch_of(environment(row.variables))
    assert (found and (found.launcher.name, *found[1:])) == row.meaning


def test_every_launcher_has_a_row() -> None:
    assert {launcher.name for launcher in LAUNCHERS} == {row.meaning[0] for row in ROWS if row.meaning}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4", "Open MPI started 4 processes, but MPI sees 1: each would train alone. The launcher and the library"),
        ("SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=4 SLURM_LOCALID=1", "srun --mpi=pmix (Open MPI) or srun --mpi=pmi2 (MPICH, Intel MPI)"),
        ("RANK=1 WORLD_SIZE=4 LOCAL_RANK=1", "start them with mpiexec -n 4 python ..., not with torchrun"),
    ],
    ids=["another MPI's mpiexec", "srun without MPI", "torchrun"],
)  # fmt: skip
def test_processes_that_mpi_does_not_connect_are_an_error(variables: str, said: str) -> None:
    if reason := why_not():
        pytest.skip(reason)
    found = subprocess.run(
        [sys.executable, "-c", "import fdezero as fd; fd.distributed.world()"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | environment(variables), timeout=60,
    )  # fmt: skip
    assert found.returncode == 1
    assert said in found.stderr
    assert "StructureError: world: " in found.stderr


def test_what_agrees_is_no_error() -> None:
    for variables, size in [("HOME=/", 1), ("PMI_RANK=0 PMI_SIZE=2", 2), ("PMI_RANK=0 PMI_SIZE=1", 1)]:
        assert why_apart(launch_of(environment(variables)), size) == ""


def test_the_launcher_of_this_environment_says_what_mpi_says() -> None:
    script = (
        "import fdezero as fd; from fdezero.distributed.launchers import launch_of; w = fd.distributed.world(); "
        "assert launch_of()[1:] == (w.rank, w.size, w.local_rank, w.local_size), (launch_of(), w)"
    )
    found = launch(2, "-c", script)
    assert found.code == 0, found.stderr
