"""Nothing of ours listens on a network, and Python opens no socket: there is only what MPI opens."""

import json
import os
import socket
from pathlib import Path

import pytest

from . import listening
from .ranks import launch

linux = pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="reads Linux's tables of sockets")


@linux
def test_a_run_opens_no_socket(tmp_path: Path) -> None:
    run = launch(2, "-m", "tests.distributed.listening", str(tmp_path))
    assert run.code == 0, run
    for new, calls, batches in json.loads(run.stdout):
        assert (new, calls, batches) == ([], [], 10)


def test_calls_of_sockets_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CALLS", calls := [])
    listening.hear("socket.__new__", (None, socket.AF_UNIX, socket.SOCK_STREAM, 0))
    listening.hear("open", ("a.py",))
    assert calls == []
    listening.hear("socket.bind", (None, ("", 80)))
    listening.hear("socket.__new__", (None, socket.AF_INET, socket.SOCK_STREAM, 0))
    assert len(calls) == 2


@linux
@pytest.mark.parametrize("kind", ["tcp", "udp", "unix"])
def test_a_socket_that_listens_is_found(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "processes", lambda: [os.getpid()])  # launchers of other tests may end meanwhile
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as own:
        before = listening.listening()
        own.bind(str(tmp_path / "socket") if kind == "unix" else ("127.0.0.1", 0))
        if kind != "udp":
            assert listening.listening() == before
            own.listen()
        assert [name.split()[0] for name in listening.listening() if name not in before] == [kind]
    assert listening.listening() == before
