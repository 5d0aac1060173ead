"""The commands of `python -m fdezero`: what they print, their exit statuses, and errors of one line."""

import doctest
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import commands, nn
from fdezero.commands.helpers import contents
from fdezero.io.formats import format_of

from ..io import test_io_hostile, test_safetensors
from ..io.test_io import ARRAYS
from ..io.test_safetensors import entry, stored
from ..profiles import NIGHTLY

Run = Callable[..., tuple[int, str, str]]
MODEL = nn.MLP.init(fd.random.key(0), (4, 3, 2))
TREE = {"model": MODEL, "epoch": 3, "zeros": np.zeros(1000, np.float32)}
PROGRAM = "python -m fdezero"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder of its own: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = commands.main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return call


def lines(text: str) -> list[str]:
    """The lines of a text, without doubled spaces."""
    return [re.sub(" +", " ", line.strip()) for line in text.splitlines()]


def damage(path: Path, key: str) -> None:
    """Change a byte of a member."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(key)
        data = bytearray(path.read_bytes())
        start = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26 :][:2], "little") + int.from_bytes(data[info.header_offset + 28 :][:2], "little")
        data[start + info.compress_size * 3 // 4] ^= 0xFF
    path.write_bytes(data)


def test_alone_it_lists_every_command(run: Run) -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    for name, module in commands.commands().items():
        assert f"  {name} " in out
        assert module.__doc__
        assert callable(module.run)
        status, text, _ = run(name, "--help")
        assert status == 0
        assert module.__doc__.split(".")[0].split(":")[0] in re.sub(r"\s+", " ", text)
    assert {"ls", "diff", "verify", "convert", "cat"} <= set(commands.commands())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lss"], f"{PROGRAM}: there is no command lss: did you mean ls?"),
        (["train"], f"{PROGRAM}: there is no command train: there are cat,"),
        (["ls"], f"{PROGRAM} ls: the following arguments are required: FILE. `{PROGRAM} ls --help` shows how to call it."),
        (["diff", "a"], f"{PROGRAM} diff: the following arguments are required: FILE."),
        (["ls", "gone.npz"], "gone.npz: No such file or directory"),
        (["diff", "gone.npz", "x.npz"], f"{PROGRAM} diff: gone.npz: No such file or directory"),
        (["ls", "text.npz"], "text.npz is no npz file, or is damaged: "),
        (["ls", "--depth", "0", "x.npz"], f"{PROGRAM} ls: --depth counts parts of keys, from 1; got 0"),
        (["ls", "--depth", "a", "x.npz"], f"{PROGRAM} ls: argument --depth: invalid int value: 'a'."),
        (["ls", "."], "the folder . holds text.npz, x.npz: name one of them."),
        (["cat", "x.npz", "model"], f"{PROGRAM} cat: x.npz has no key model: write model/* for what lies below."),
        (["cat", "x.npz", "modle"], f"{PROGRAM} cat: x.npz has no key modle: `ls x.npz` shows its keys."),
        (["cat", "x.npz", "epoch[0]"], f"{PROGRAM} cat: epoch, int64[]: too many indices"),
        (["cat", "x.npz", "zeros[a]"], f"{PROGRAM} cat: [a] is no index of numbers, slices and ..., such as [0, :5]."),
        (["cat", "x.npz", "zeros[__import__('os')]"], f"{PROGRAM} cat: [__import__('os')] is no index"),
        (["cat", "x.npz", "zeros[1000]"], f"{PROGRAM} cat: zeros, float32[1000]: index 1000 is out of bounds"),
        (["convert", "x.npz", "y.txt"], f"{PROGRAM} convert: y.txt must end in .npz or .safetensors"),
        (["convert", "x.npz", "text.npz"], f"{PROGRAM} convert: text.npz is there already: --force writes over it."),
        (["convert", "x.npz", "no/y.npz"], f"{PROGRAM} convert: there is no folder "),
        (["convert", "x.npz", "y.npz", "--rename", "model"], f"{PROGRAM} convert: --rename takes OLD=NEW; got model"),
        (["convert", "x.npz", "y.npz", "--rename", "epoch=zeros"], f"{PROGRAM} convert: two arrays would get the name zeros: change --rename."),
        (["convert", "x.npz", "y.npz", "--shard-size", "big"], f"{PROGRAM} convert: save: shard_size is a number of bytes"),
        (["convert", "x.npz", "y.npz", "--names", "torch"], f"{PROGRAM} convert: argument --names: invalid choice: 'torch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_mistakes_are_one_line_and_status_2(run: Run, arguments: list[str], said: str) -> None:
    fd.save("x.npz", TREE)
    Path("text.npz").write_text("text")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(said)
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == ["text.npz", "x.npz"]


# --- ls --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_ls_lists_keys_dtypes_shapes_sizes_and_norms(run: Run, form: str) -> None:
    fd.save(f"x.{form}", TREE)
    status, out, err = run("ls", f"x.{form}")
    assert (status, err) == (0, "")
    packed = os.path.getsize(f"x.{form}") < 3000
    W, b = MODEL.layers[0].W, MODEL.layers[1].W
    assert lines(re.sub(r"\(\d+ B\)", "(88 B)", out)) == [
        f"x.{form}: 6 arrays, 1,024 numbers, 4.1 kB",
        "epoch int64 [] 8 B = 3",
        f"model/layers/0/W float32 [4,3] 48 B norm {np.linalg.norm(W):.4g}",
        "model/layers/0/b float32 [3] 12 B norm 0",
        f"model/layers/1/W float32 [3,2] 24 B norm {np.linalg.norm(b):.4g}",
        "model/layers/1/b float32 [2] 8 B norm 0",
        f"zeros float32 [1000] 4.0 kB {'(88 B) ' if packed else ''}norm 0",
    ]
    assert lines(run("ls", "--fast", f"x.{form}")[1])[2] == "model/layers/0/W float32 [4,3] 48 B"
    found = lines(run("ls", "--depth", "2", f"x.{form}")[1])
    norm = np.sqrt(sum(np.sum(np.square(leaf, dtype=float)) for leaf in fd.tree.leaves(MODEL)))
    assert found[2] == f"model/layers/... float32 4 arrays 92 B norm {norm:.4g}"
    assert len(found) == 4


def test_ls_of_every_kind_of_entry(run: Run) -> None:
    tree = {**ARRAYS, "huge": np.full(3, 1e200), "tiny": np.full(4, 5e-324), "wide": np.array([2**62, 2**62]), "nan": np.array([3, np.nan, 4, np.inf])}
    fd.save("x.npz", tree)
    status, out, err = run("ls", "x.npz")
    found = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert (status, err) == (0, "")
    assert "norm 1.732e+200" in found["huge"]
    assert "norm 9.881e-324" in found["tiny"]
    assert "norm 6.522e+18" in found["wide"]
    assert "norm 5 " in found["nan"]
    assert "2 numbers not finite" in found["nan"]
    assert "= 1.5" in found["0-d"]
    assert len(out.splitlines()) == 1 + len(tree)


def test_norms_are_those_of_numpy_over_pieces(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "COUNT", 7)
    for name, array in ARRAYS.items():
        if contents.is_number(array.dtype) and np.isfinite(array).all():
            fd.save("x.npz", {"x": array})
            with contents_of("x.npz") as (reader, found):
                np.testing.assert_allclose(
                    contents.norm_of(reader, found["x"]).value, np.linalg.norm(array.astype(np.result_type(array, float)).ravel()), rtol=1e-13, err_msg=name
                )


def contents_of(path: str) -> Any:
    import contextlib

    @contextlib.contextmanager
    def opened() -> Any:
        with open(path, "rb") as file:
            reader = format_of(path).open_reader(path, file)
            yield reader, contents.entries_of(reader)

    return opened()


def test_names_of_a_stranger_cannot_control_the_terminal(run: Run) -> None:
    fd.save("x.npz", {"a\x1b[2J\nb": np.ones(3), "é": np.ones(1)})
    for arguments in (["ls", "x.npz"], ["ls", "--fast", "x.npz"], ["cat", "x.npz", "*"], ["verify", "x.npz"]):
        assert "\x1b" not in run(*arguments)[1]
    assert "a\\x1b[2J\\nb" in run("ls", "x.npz")[1]
    damage(Path("x.npz"), "a\x1b[2J\nb.npy")
    status, out, err = run("verify", "x.npz")
    assert (status, "\x1b" in out + err) == (1, False)


# --- verify, and damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
def test_damage_is_found_and_placed(run: Run, compress: bool) -> None:
    fd.save("x.npz", TREE, compress=compress)
    assert run("verify", "x.npz") == (0, "x.npz: whole, 6 arrays; all checksums are right\n", "")
    assert run("verify", "-q", "x.npz") == (0, "", "")
    for key in ("model/layers/0/W.npy", "zeros.npy"):
        damage(Path("x.npz"), key)
    status, out, err = run("verify", "x.npz")
    assert (status, err) == (1, "")
    assert re.fullmatch(r"x.npz: 'model/layers/0/W.npy' is (damaged|no npy array, or is damaged): .*\nx.npz: 'zeros.npy' is .*\n", out)
    status, out, err = run("ls", "x.npz")
    assert (status, err) == (1, "")
    assert "= 3" in out
    assert len([line for line in out.splitlines() if "damaged" in line]) == 2
    whole = Path("x.npz").read_bytes()
    Path("x.npz").write_bytes(whole[: len(whole) // 2])
    status, out, err = run("verify", "x.npz", "gone.npz")
    assert (status, err) == (2, "gone.npz: No such file or directory\n")
    assert "x.npz is no npz file, or is damaged" in out


def test_safetensors_and_shards_are_verified_as_far_as_the_format_allows(run: Run) -> None:
    fd.save("x.safetensors", TREE)
    fd.save("y.safetensors", TREE, shard_size=1000)
    fd.save("z.npz", TREE, shard_size=60)
    status, out, _ = run("verify", "x.safetensors", "y.safetensors", "z.npz.index.json")
    assert status == 0
    assert out.splitlines()[0] == "x.safetensors: whole, 6 arrays; the format has no checksums"
    assert out.splitlines()[2] == "z.npz.index.json: whole, 6 arrays; all checksums are right"
    Path("x.safetensors").write_bytes(Path("x.safetensors").read_bytes()[:-1])
    shard = next(name for name in os.listdir() if name.startswith("y-") and "-00001-" in name)
    os.unlink(shard)
    status, out, _ = run("verify", "x.safetensors", "y.safetensors")
    assert status == 1
    assert "x.safetensors is no safetensors file, or is damaged" in out
    assert f"y.safetensors.index.json names {shard}, which is not beside it" in out
    Path("w.safetensors").write_bytes(stored({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)))
    assert run("verify", "w.safetensors")[0] == 1


HOSTILE = {f"{name}.npz": make for name, (make, _) in test_io_hostile.HOSTILE.items()} | {
    f"{name}.safetensors": make for name, (make, _) in test_safetensors.HOSTILE.items()
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_command_trips_over_a_hostile_file(run: Run, kind: str) -> None:
    path = f"x{Path(kind).suffix}"
    Path(path).write_bytes(HOSTILE[kind]())
    kept = slice(None) if NIGHTLY else slice([*HOSTILE].index(kind) % 3, None, 3)  # by default two for each file: they have the same readers
    for arguments in (["ls", path], ["ls", "--fast", "--depth", "1", path], ["verify", path], ["cat", path, "*"], ["diff", path, path], ["convert", path, "y.npz"])[kept]:
        status, out, err = run(*arguments)
        assert status in (1, 2), (arguments, out)
        assert err.count("\n") <= 1
        assert "Traceback" not in out + err
        assert path in out + err
    assert os.listdir() == [path]


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_says_where_files_differ_most(run: Run) -> None:
    W = np.arange(12.0).reshape(3, 4)
    fd.save("a.npz", {"W": W, "b": np.zeros(2), "c": np.ones(2, np.float32), "d": 1.0, "same": np.array([np.nan, np.inf]), "t": np.array(["a", "b"])})
    fd.save("b.npz", {"W": W + 0.5 * (W == 6) + 0.25 * (W == 7), "b": np.zeros(3), "c": np.ones(2), "e": 1.0, "same": np.array([np.nan, np.inf]),
                      "t": np.array(["a", "c"])})  # fmt: skip
    status, out, err = run("diff", "a.npz", "b.npz")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "d: only in a.npz",
        "e: only in b.npz",
        "W: 2 of 12 differ, at most by 0.5, relative 0.0769: 6.0 and 6.5 at [1,2]",
        "b: shape [2] and [3]",
        "c: dtype float32 and float64",
        "t: 1 of 2 differ, first b and c at [1]",
        "1 array equal, 4 different, 2 in one file only",
    ]
    fd.save("c.safetensors", {"W": W})
    fd.save("d.npz", {"W": np.asfortranarray(W + 1e-9)})
    assert run("diff", "c.safetensors", "d.npz")[0] == 1
    assert run("diff", "c.safetensors", "d.npz", "--atol", "1e-8") == (0, "1 array, all equal within the tolerances\n", "")
    assert run("diff", "c.safetensors", "d.npz", "--rtol", "1e-8")[0] == 1  # at 0 it allows nothing
    assert run("diff", "c.safetensors", "c.safetensors") == (0, "1 array, all equal\n", "")


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_diff_of_special_numbers(run: Run, form: str) -> None:
    cases: list[tuple[Any, Any, str | None]] = [
        (np.array([np.nan, 1]), np.array([2, np.nan]), "2 of 2 differ, at most by inf: nan and 2.0 at [0]"),
        (np.array([np.inf, 0]), np.array([-np.inf, 0]), "1 of 2 differ, at most by inf: inf and -inf at [0]"),
        (np.array([0.0]), np.array([-0.0]), None),
        (np.array(2**53 + 1), np.array(2**53), "1 of 1 differ, at most by 0, relative 0: 9007199254740993 and 9007199254740992"),
        (np.array([True, False]), np.array([True, True]), "1 of 2 differ, at most by 1, relative 1: False and True at [1]"),
        (np.array([3], np.uint8), np.array([255], np.uint8), "1 of 1 differ, at most by 252, relative 0.988: 3 and 255 at [0]"),
        (np.array([1 + 1j], np.complex64), np.array([1 - 1j], np.complex64), "1 of 1 differ, at most by 2, relative 1.41: (1+1j) and (1-1j) at [0]"),
        (np.empty((0, 3)), np.empty((0, 3)), None),
    ]  # fmt: skip
    for a, b, said in cases:
        fd.save(f"a.{form}", {"x": a})
        fd.save(f"b.{form}", {"x": b})
        status, out, _ = run("diff", f"a.{form}", f"b.{form}")
        assert (status, out.splitlines()[0]) == ((0, "1 array, all equal") if said is None else (1, f"x: {said}"))


def test_diff_in_pieces_is_that_of_the_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "COUNT", 5)
    rng = np.random.default_rng(0)
    for shape in ((37,), (6, 7), (3, 4, 5)):
        a, noise = rng.standard_normal(shape), rng.standard_normal(shape) * (rng.random(shape) < 0.5)
        fd.save("a.npz", {"x": np.asfortranarray(a)}, compress=bool(len(shape) % 2))
        fd.save("b.npz", {"x": a + noise})
        place = np.unravel_index(np.argmax(np.abs(a - (a + noise))), shape)
        expected = f"x: {np.count_nonzero(a != a + noise)} of {a.size} differ, at most by {abs(a[place] - (a + noise)[place]):.3g}"
        out = run("diff", "a.npz", "b.npz")[1].splitlines()[0]
        assert out.startswith(expected)
        assert out.endswith(f" at [{','.join(map(str, place))}]")


# --- cat -------------------------------------------------------------------------------------------------------------


def test_cat_prints_values(run: Run) -> None:
    fd.save("x.npz", {"W": np.arange(12.0).reshape(3, 4), "f": np.asfortranarray(np.arange(6).reshape(2, 3)), "n": 3, "long": np.arange(5000), "W[0]": 7})
    assert run("cat", "x.npz", "n")[1] == "3\n"
    assert run("cat", "x.npz", "W[1, ::2]")[1] == "[4., 6.]\n"
    assert run("cat", "x.npz", "W[..., -1]")[1] == "[ 3.,  7., 11.]\n"
    assert run("cat", "x.npz", "W[-1, -1]")[1] == "11.0\n"
    assert run("cat", "x.npz", "W[0]")[1] == "7\n"  # a key of that name comes first
    assert run("cat", "x.npz", "f", "--all")[1] == "0 1 2\n3 4 5\n"
    assert run("cat", "x.npz", "f[:, 1:]", "--all")[1] == "1 2\n4 5\n"
    assert run("cat", "x.npz", "n", "--all")[1] == "3\n"
    assert run("cat", "x.npz", "n", "f")[1] == "n: int64[]\n3\nf: int64[2,3]\n[[0, 1, 2],\n [3, 4, 5]]\n"
    assert run("cat", "x.npz", "[fn]")[1].splitlines()[0] == "f: int64[2,3]"
    assert "..." in run("cat", "x.npz", "long")[1]
    assert run("cat", "x.npz", "long", "--all")[1].split() == [str(i) for i in range(5000)]


def test_what_cat_prints_of_an_empty_array(run: Run) -> None:
    fd.save("x.npz", {"e": np.empty((0, 3))})
    assert run("cat", "x.npz", "e")[0] == 0
    assert run("cat", "x.npz", "e", "--all") == (0, "", "")


def test_the_page_on_files_shows_what_commands_print(run: Run) -> None:
    text = (Path(__file__).parents[2] / "docs" / "guides" / "files.md").read_text(encoding="utf-8")
    sessions = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(sessions, {}, "files", None, 0)
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=lambda _: None)  # their output is tested elsewhere
    shown = re.findall(r"(?m)^\$ python -m fdezero (.*)\n((?:(?!\$).*\n)*)", "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)))
    assert len(shown) >= 9
    assert {command.split()[0] for command, _ in shown} == {"ls", "diff", "verify", "cat", "convert"}
    for command, expected in shown:
        said = re.sub(r"\(\d+ B\)", "(84 B)", run(*shlex.split(command))[1])  # other releases of zlib need other sizes
        assert said.rstrip() == expected.rstrip(), command


# --- pipes, interrupts, files larger than memory ---------------------------------------------------------------------


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {str(number): np.arange(2000) for number in range(300)}, compress=False)
    for command in ("ls --fast", "cat --all"):
        keys = ["*"] if command.startswith("cat") else []
        first, *more = command.split()
        with subprocess.Popen([sys.executable, "-m", "fdezero", first, *more, str(tmp_path / "x.npz"), *keys], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(60) in ((commands.CLOSED,) if command.startswith("cat") else (0, commands.CLOSED))


def test_an_output_that_cannot_show_a_name_escapes_it(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"é": np.ones(3)})
    found = subprocess.run([sys.executable, "-m", "fdezero", "ls", str(tmp_path / "x.npz")], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"\\xe9" in found.stdout


def test_an_interrupt_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fd.save("x.npz", TREE)

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.commands()["ls"], "open_reader", stop)
    assert run("ls", "x.npz") == (commands.INTERRUPTED, "", "")


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_commands_hold_pieces_of_a_file(run: Run, form: str, compress: bool) -> None:
    import tracemalloc

    array = np.random.default_rng(0).integers(0, 100, 3_000_000).astype(np.float64)
    fd.save(f"a.{form}", {"x": array}, compress=compress)
    fd.save(f"b.{form}", {"x": array + (array == 7)}, compress=compress)
    for arguments in (["ls", f"a.{form}"], ["verify", f"a.{form}"], ["diff", f"a.{form}", f"b.{form}"]):
        tracemalloc.start()
        try:
            assert run(*arguments)[0] == (arguments[0] == "diff")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 18 << 20, arguments
