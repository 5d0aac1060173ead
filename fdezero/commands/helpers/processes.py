"""What this machine has for several processes: mpi4py, the MPI library, mpiexec, NCCL, shared memory.

MPI starts in a process of its own. A library that does not fit ends the process that loads it.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...devices import backend_named, why_no_gpu
from ...distributed.engines.nccl import module, why_no_nccl
from ...distributed.launchers import launch_of
from .findings import ABSENT, BAD, GOOD, Finding

SHARED = Path("/dev/shm")
SMALL = 256e6  # bytes of shared memory; the default of a container is 64 MB
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
SECONDS = 30  # that MPI has for starting
# Variables by which a launcher's processes find each other: a process within would join its parent's run, and wait.
OF_LAUNCHERS = ("PMI", "OMPI_", "PRTE_", "HYDRA", "HYDI", "MPI_LOCAL", "I_MPI_", "SLURM_", "PALS_")
KEPT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_MCA_", "PRTE_MCA_")
TELLING = ("unsupported", "as root", "not found", "rror")  # words of the lines that say most, the best one first
ASK = """
import json, mpi4py
from mpi4py import MPI
from fdezero.distributed.engines.placed import says_cuda_aware
name, version = MPI.get_vendor()
print(json.dumps({"mpi4py": mpi4py.__version__, "library": f"{name} {'.'.join(map(str, version))}", "cuda": says_cuda_aware()}))
"""
MEET = "from mpi4py import MPI; MPI.COMM_WORLD.rank or print('ranks', MPI.COMM_WORLD.size)"


def several_processes() -> Iterator[Finding]:
    """The lines about MPI, NCCL and shared memory."""
    yield from _launcher()
    try:
        importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        yield Finding(ABSENT, "MPI: mpi4py is not installed: pip install 'fdezero[mpi]' for several processes")
        return
    facts, error = _asked()
    if facts is None:
        yield Finding(
            BAD, f"MPI: mpi4py does not start MPI ({error}): pip install 'fdezero[mpi]', or install Open MPI or MPICH"
        )
    else:
        yield from _mpi(facts)
    yield from _shared()
    if not why_no_gpu():
        yield from _gpus("" if facts is None else facts["cuda"])


def _launcher() -> Iterator[Finding]:
    launch = launch_of()
    if launch is None:
        return
    text = f"launcher: {launch.launcher.name} started this process as rank {launch.rank} of {launch.size}"
    beside, cores = launch.local_size or 1, len(cores_of_process())
    threads = next((int(os.environ[name]) for name in THREADS if os.environ.get(name, "").isdecimal()), cores)
    if threads * beside > (os.cpu_count() or 1):
        fitting = max(1, (os.cpu_count() or 1) // beside)
        text += f", and each of {beside} ranks on this machine computes with {threads} threads: set {THREADS[0]}={fitting}, or let mpiexec"
        yield Finding(BAD, f"{text} bind each rank to cores of its own")
    else:
        yield Finding(GOOD, text)


def cores_of_process() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _asked() -> tuple[Any, str]:
    """What mpi4py says about its library, or why it says nothing."""
    code, out, err = _run([sys.executable, "-c", ASK])
    return (json.loads(out.splitlines()[-1]), "") if code == 0 and out else (None, _reason(err))


def _mpi(facts: Any) -> Iterator[Finding]:
    text = f"MPI: mpi4py {facts['mpi4py']} with {facts['library']}"
    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    launcher = shutil.which("mpiexec") or beside
    if launcher is None:
        yield Finding(BAD, f"{text}, but there is no mpiexec on the path: pip install 'fdezero[mpi]'")
        return
    code, out, err = _run([launcher, "-n", "2", sys.executable, "-c", MEET])
    other = f". Take {beside}" if beside and beside != launcher else ""
    if code != 0:
        yield Finding(
            BAD, f"{text}, but {launcher} cannot start two ranks: {_reason(err) or 'it does not come back'}{other}"
        )
    elif out.split() != ["ranks", "2"]:
        yield Finding(
            BAD, f"{text}, but the processes of {launcher} do not find each other: it belongs to another MPI{other}"
        )
    else:
        yield Finding(GOOD, f"{text}, and {launcher} starts ranks that find each other")


def _shared() -> Iterator[Finding]:
    if not SHARED.is_dir():
        return
    usage = shutil.disk_usage(SHARED)
    text = f"shared memory: {SHARED}, {usage.free / 1e6:.0f} MB free of {usage.total / 1e6:.0f}"
    if usage.free < SMALL:
        text += ". Ranks of one machine and NCCL need more: docker run --shm-size=1g, or an emptyDir of medium Memory in Kubernetes"
        yield Finding(BAD, text)
    else:
        yield Finding(GOOD, text)


def _gpus(aware: str) -> Iterator[Finding]:
    if reason := why_no_nccl():
        yield Finding(ABSENT, f"NCCL: {reason}")
    else:
        number, count = module().get_version(), backend_named("gpu").count()
        yield Finding(
            GOOD, f"NCCL {number // 10000}.{number // 100 % 100}.{number % 100}, for {count} ranks on this machine"
        )
    if aware:
        yield Finding(GOOD, f"MPI reads the memory of GPUs: {aware}")
    else:
        yield Finding(ABSENT, "MPI does not read the memory of GPUs: without NCCL, arrays are copied through the host")


def _run(command: list[str]) -> tuple[int | None, str, str]:
    """The exit status (None after the time limit) and the words of a command outside the run of this process."""
    kept = {k: v for k, v in os.environ.items() if k.startswith(KEPT) or not k.startswith(OF_LAUNCHERS)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=kept, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return None, "", ""
    return done.returncode, done.stdout, done.stderr


def _reason(text: str) -> str:
    """The line of an error that says most."""
    lines = [line.strip(" -=*.") for line in text.splitlines() if line.strip(" -=*")]
    if not lines:
        return ""
    if "Traceback" in text:
        return lines[-1][:300]
    return next((line for word in TELLING for line in lines if word in line), lines[0])[:300]
