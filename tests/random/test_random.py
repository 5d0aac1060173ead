"""Random numbers: NumPy's own bits on every device, the laws of keys, and distributions."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fdezero as fd
from fdezero import random
from fdezero.devices import cuda
from fdezero.errors import DTypeError, KeyMissingError, RangeError, ShapeError
from fdezero.random import philox
from fdezero.testing import keys

NUMBERS = st.integers(0, 2**64 - 1)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
DRAWS = {
    "bits": lambda key: random.bits(key, (3, 2), "uint16"),
    "uniform": lambda key: random.uniform(key, (3,), -1, 2),
    "normal": lambda key: random.normal(key, (5,)),
    "bernoulli": lambda key: random.bernoulli(key, np.array([0.2, 0.9])),
    "keep_mask": lambda key: random.keep_mask(key, 0.3, (2, 4))[0],
    "randint": lambda key: random.randint(key, (4,), -5, 5, "int8"),
    "permutation": lambda key: random.permutation(key, np.arange(6).reshape(3, 2)),
    "choice": lambda key: random.choice(key, 9, (4,)),
    "choice of an array": lambda key: random.choice(key, np.arange(6.0).reshape(3, 2), (4,), p=np.array([1.0, 2.0, 0.0])),
    "choice without replacement": lambda key: random.choice(key, 5, (3,), replace=False, p=[1, 2, 3, 0, 1]),
    "gamma": lambda key: random.gamma(key, [0.3, 5.0], (3, 2)),
    "beta": lambda key: random.beta(key, 0.3, 5.0, 4),
    "dirichlet": lambda key: random.dirichlet(key, [0.3, 5.0, 1.0]),
    "categorical": lambda key: random.categorical(key, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
    "poisson": lambda key: random.poisson(key, [0.3, 50.0]),
    "multinomial": lambda key: random.multinomial(key, 9, [1.0, 1.0, 1.0]),
    "truncated normal": lambda key: random.truncated_normal(key, -1.0, [0.5, 2.0]),
    "gumbel": lambda key: random.gumbel(key, 3),
    "geometric": lambda key: random.geometric(key, 0.3, 3),
    "normal vectors": lambda key: random.multivariate_normal(key, [0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], 3),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 7),
    "a split key": lambda key: random.uniform(random.split(key)[1]),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def reference(key: Any, count: int, start: int = 0, domain: int = 0) -> np.ndarray:
    return np.random.Philox(counter=start + (domain << 192), key=np.array(key, np.uint64)).random_raw(count)


# --- bits ------------------------------------------------------------------------------------------------------------


@given(keys(), st.integers(0, 40))
def test_bits_are_the_words_of_numpys_philox(key: Any, count: int) -> None:
    assert random.bits(key, count).tolist() == np.random.Philox(counter=0, key=key).random_raw(count).tolist()
    assert random.uniform(key, count, dtype="float64").tolist() == np.random.Generator(np.random.Philox(key=key)).random(count).tolist()


def test_known_answers() -> None:
    assert random.bits(random.key(0), 4).tolist() == [0x02F4BA6408E4D89B, 0x3DD62B0B9CA8C5B2, 0x1C8667A55D902E79, 0x907D7A052FD5B4DC]
    assert random.key(5).tolist() == [5, 0]
    assert random.key(2**64 + 3).tolist() == [3, 1]
    assert random.split(random.key(0)).tolist() == reference([0, 0], 8, domain=1).reshape(2, 4)[:, :2].tolist()
    for data in (0, 9, 2**63 + 1, 2**64 - 1):  # NumPy makes floats of a list with a number of 2**63 or more.
        assert random.fold_in(random.key(0), data).tolist() == reference([0, 0], 2, start=data, domain=2).tolist()


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=33, max_size=36), st.integers(1, 9), st.integers(0, 3))
def test_many_short_draws_side_by_side_are_the_same_words(rows: Any, count: int, domain: int) -> None:
    array = np.array(rows, np.uint64)
    found = philox.words(array[:, :2], array[:, 2], count=count, domain=domain)
    assert found.tolist() == [reference(row[:2], count, int(row[2]), domain).tolist() for row in array]


@given(keys(), SHAPES, st.sampled_from(UNSIGNED))
def test_entries_do_not_depend_on_the_shape(key: Any, shape: tuple[int, ...], dtype: str) -> None:
    drawn = random.bits(key, shape, dtype)
    assert drawn.shape == shape
    assert drawn.dtype == dtype
    assert drawn.reshape(-1).tolist() == random.bits(key, 200, dtype)[: drawn.size].tolist()
    words = random.bits(key, drawn.size)
    per_word = 8 // drawn.itemsize
    low_first = [int(words[i // per_word]) >> 8 * drawn.itemsize * (i % per_word) & 256**drawn.itemsize - 1 for i in range(drawn.size)]
    assert drawn.reshape(-1).tolist() == low_first


@given(keys(), SHAPES, st.sampled_from(["float16", "float32", "float64"]))
def test_the_same_key_and_shape_give_the_same_numbers(key: Any, shape: tuple[int, ...], dtype: str) -> None:
    for draw in (random.uniform, random.normal):
        one, other = draw(key, shape, dtype=dtype), draw(key, shape, dtype=dtype)
        assert (one.shape, one.dtype) == (shape, dtype)
        assert one.tolist() == other.tolist()
        assert np.ravel(one).tolist() == draw(key, 200, dtype=dtype)[: one.size].tolist()


@pytest.mark.parametrize("shape", [(), 3, (2, 3), (0,)])
def test_lengths_may_be_integers_and_nothing_may_be_drawn(shape: Any) -> None:
    key = random.key(1)
    wanted = (shape,) if isinstance(shape, int) else shape
    for drawn in (random.bits(key, shape), random.normal(key, shape), random.randint(key, shape, 0, 5), random.bernoulli(key, 0.5, shape)):
        assert drawn.shape == wanted


# --- keys ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**128 - 1))
def test_a_seed_is_the_key_of_philox(seed: int) -> None:
    assert random.bits(random.key(seed), 8).tolist() == np.random.Philox(counter=0, key=seed).random_raw(8).tolist()


@given(keys(), st.integers(1, 20), st.lists(NUMBERS, unique=True, max_size=20))
def test_derived_keys_are_distinct_from_each_other_and_from_the_draws(key: Any, count: int, data: list[int]) -> None:
    children = random.split(key, count)
    folded = random.fold_in(key, np.array(data, np.uint64))
    assert children.tolist() == random.split(key, count + 5)[:count].tolist()
    assert folded.reshape(-1, 2).tolist() == [random.fold_in(key, number).tolist() for number in data]
    drawn = random.bits(key, 4 * (count + 1)).reshape(-1, 2)
    everything = [tuple(row) for part in (children, folded.reshape(-1, 2), drawn, key[None]) for row in part.tolist()]
    assert len(set(everything)) == len(everything)


@draws
@pytest.mark.parametrize("count", [2, 70])
def test_mapping_over_keys_is_a_stack_of_single_draws(draw: Any, count: int) -> None:
    many = random.split(random.key(3), count)
    mapped = fd.vmap(draw)(many)
    stacked = np.stack([draw(key) for key in many])
    assert mapped.dtype == stacked.dtype
    assert mapped.tolist() == stacked.tolist()


def test_numbers_and_probabilities_may_be_mapped_over_too() -> None:
    key, steps, p = random.key(2), np.arange(4), np.array([0.0, 0.3, 1.0])
    assert fd.vmap(random.fold_in, (None, 0))(key, steps).tolist() == random.fold_in(key, steps).tolist()
    nested = fd.vmap(lambda k: fd.vmap(lambda i: random.uniform(random.fold_in(k, i)))(steps))(random.split(key, 3))
    assert nested.tolist() == [[float(random.uniform(random.fold_in(k, int(i)))) for i in steps] for k in random.split(key, 3)]
    mapped = fd.vmap(lambda q: random.bernoulli(key, q, (5,)))(p)
    assert mapped.tolist() == [random.bernoulli(key, q, (5,)).tolist() for q in p]
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert fd.vmap(lambda w: random.choice(key, 3, (4,), p=w))(weights).tolist() == [[0] * 4, [2] * 4]


def test_draws_have_no_derivative_but_bounds_have() -> None:
    key = random.key(4)
    u = random.uniform(key, (3,), dtype="float64")
    low, high = fd.grad(lambda a, b: random.uniform(key, (3,), a, b, "float64").sum(), argnums=(0, 1))(1.0, 2.0)
    assert low == pytest.approx((1 - u).sum())
    assert high == pytest.approx(u.sum())
    assert fd.grad(lambda p: p * random.bernoulli(key, p, (1000,)).mean())(0.5) == random.bernoulli(key, 0.5, (1000,)).mean()
    rate = np.array(0.25, np.float32)
    assert fd.grad(lambda r: random.keep_mask(key, r, 4)[1] + 0 * r)(rate) == 0


@pytest.mark.parametrize("seed", [-1, 2**128, 1.0, True, "0", None, np.float64(1)])
def test_invalid_seeds_are_refused(seed: Any) -> None:
    with pytest.raises((DTypeError, RangeError), match=r"say fd\.random\.key\("):
        random.key(seed)
    assert random.key(np.int64(3)).tolist() == [3, 0]


@draws
@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        (3, KeyMissingError, r"needs a key, but int 3 is a seed\. Pass fd\.random\.key\(3\)"),
        (np.int64(3), KeyMissingError, r"is a seed\. Pass fd\.random\.key\(3\)"),
        (None, KeyMissingError, r"needs a key, got NoneType\. Pass fd\.random\.key\(0\)"),
        (np.zeros(2), DTypeError, r"needs a key uint64\[2\], got float64\[2\]"),
        (np.zeros((3, 2), np.uint64), ShapeError, r"got uint64\[3,2\]: pass one of them, keys\[0\], or map over them with fd\.vmap"),
        (np.zeros(3, np.uint64), ShapeError, r"got uint64\[3\]: pass fd\.random\.key\(0\)"),
    ],
)
def test_invalid_keys_are_refused(draw: Any, key: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        draw(key)
    assert "fd.random." in str(caught.value).partition(" ")[0]


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (lambda key: random.fold_in(key, 1.5), DTypeError, "an integer or an array of integers, got float 1.5"),
        (lambda key: random.fold_in(key, True), DTypeError, "got bool True"),
        (lambda key: random.fold_in(key, -1), RangeError, "from 0 to 2\\*\\*64 - 1, got -1"),
        (lambda key: random.fold_in(key, np.zeros(2)), DTypeError, r"got float64\[2\]"),
        (lambda key: random.split(key, -1), ShapeError, "sizes must not be negative"),
        (lambda key: random.bits(key, (2, 1.5)), ShapeError, "needs a shape of integers"),
        (lambda key: random.bits(key, 2, "int8"), DTypeError, "needs an unsigned dtype such as 'uint32', got int8"),
        (lambda key: random.normal(key, 3, 4), DTypeError, r"got 4\. Several sizes make one tuple"),
        (lambda key: random.uniform(key, 3, dtype="int32"), DTypeError, "needs a floating dtype"),
        (lambda key: random.uniform(key, 3, np.float32), DTypeError, r"low is a number or an array, got the dtype float32\. Pass it by name: dtype='float32'"),
        (lambda key: random.bernoulli(key, np.dtype("f8")), DTypeError, "p is a number or an array, got the dtype float64"),
        (lambda key: random.gamma(key, np.float32), DTypeError, "is a number or an array, got the dtype float32"),
        (lambda key: random.normal(key, 3, np.longdouble), DTypeError, "needs a floating dtype"),
        (lambda key: random.uniform(key, (), np.zeros(3)), ShapeError, r"low float64\[3\] does not broadcast to the shape \(\)"),
        (lambda key: random.bernoulli(key, 1.5), RangeError, "between 0 and 1, got 1.5"),
        (lambda key: random.bernoulli(key, np.ones(3) / 2, (2,)), ShapeError, r"p float64\[3\] does not broadcast to the shape \(2,\)"),
        (lambda key: random.keep_mask(key, -0.1, 3), RangeError, "between 0 and 1, got -0.1"),
        (lambda key: random.randint(key, 3, 5, 5), RangeError, "no integer from 5 to 5"),
        (lambda key: random.randint(key, 3, 0, 300, "uint8"), RangeError, "uint8 holds 0 to 255, but not 0 to 299"),
        (lambda key: random.randint(key, 3, 0.5, 2), DTypeError, "needs integers as bounds, got float 0.5 and int 2"),
        (lambda key: random.randint(key, 3, 0, 2, "float32"), DTypeError, "needs an integer dtype"),
        (lambda key: random.permutation(key, 2.5), DTypeError, "draws from an integer, or an array"),
        (lambda key: random.permutation(key, -2), RangeError, "cannot draw from -2 entries"),
        (lambda key: random.choice(key, 3, 4, replace=False), RangeError, "cannot draw 4 from 3 without replacement: say replace=True"),
        (lambda key: random.choice(key, 0, 4), RangeError, r"cannot draw 4 from 0\."),
        (lambda key: random.choice(key, 3, 2, p=[1, 2]), ShapeError, r"one weight for each of 3 entries, got int64\[2\]"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(act: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        act(random.key(0))


# --- the GPU ---------------------------------------------------------------------------------------------------------


INEXACT = {"normal", "gamma", "beta", "dirichlet", "truncated normal", "gumbel", "normal vectors"}
TAKE_ARRAYS = {"bernoulli", "permutation", "choice of an array", "choice without replacement"}


@pytest.mark.parametrize("name", sorted(DRAWS.keys() - TAKE_ARRAYS))
def test_every_draw_is_the_same_on_the_gpu(name: str, gpu: Any) -> None:
    key, draw = random.key(22), DRAWS[name]
    here, there = draw(key), draw(fd.to_device(key, "gpu"))
    assert isinstance(there, gpu.ndarray)
    assert there.dtype == here.dtype
    many = random.split(key, 3)
    mapped = fd.vmap(draw)(fd.to_device(many, "gpu"))
    assert np.allclose(fd.to_numpy(there), here, 1e-6 * (name in INEXACT), 0)
    assert np.allclose(fd.to_numpy(mapped), fd.vmap(draw)(many), 1e-6 * (name in INEXACT), 0)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1023, 100_001])
def test_bits_masks_and_orders_of_any_length_are_the_same_on_the_gpu(gpu: Any, count: int) -> None:
    key = random.split(random.key(23))[1]
    there = fd.to_device(key, "gpu")
    for dtype in UNSIGNED:
        assert np.array_equal(fd.to_numpy(random.bits(there, count, dtype)), random.bits(key, count, dtype))
    assert np.array_equal(fd.to_numpy(random.keep_mask(there, 0.7, count)[0]), random.keep_mask(key, 0.7, count)[0])
    assert np.array_equal(fd.to_numpy(random.permutation(there, count)), random.permutation(key, count))
    assert np.array_equal(fd.to_numpy(random.uniform(there, count)), random.uniform(key, count))
    np.testing.assert_array_max_ulp(fd.to_numpy(random.normal(there, count, "float64")), random.normal(key, count, "float64"), 8)
    assert np.mean(fd.to_numpy(random.normal(there, count)) != random.normal(key, count)) < 1e-4


def test_arrays_beside_the_key_lie_on_its_device(gpu: Any) -> None:
    key, p, rows, data = random.key(24), np.array([0.2, 0.9]), np.arange(6.0).reshape(3, 2), np.array([0, 5, 2**63], np.uint64)
    weights = np.array([1.0, 0.0, 2.0])
    k, q, r, d, w = fd.to_device((key, p, rows, data, weights), "gpu")
    pairs = [
        (random.bernoulli(k, q, (50, 2)), random.bernoulli(key, p, (50, 2))),
        (random.permutation(k, r), random.permutation(key, rows)),
        (random.choice(k, r, (9,), p=w), random.choice(key, rows, (9,), p=weights)),
        (random.choice(k, r, (2,), False, w), random.choice(key, rows, (2,), False, weights)),
        (random.fold_in(k, d), random.fold_in(key, data)),
        (random.uniform(k, (2,), 0, q, "float64"), random.uniform(key, (2,), 0, p, "float64")),
        (random.keep_mask(k, q[0], 99)[0], random.keep_mask(key, p[0], 99)[0]),
        (fd.vmap(lambda v: random.choice(k, 3, (4,), p=v))(gpu.stack([w, w])), np.stack([random.choice(key, 3, (4,), p=weights)] * 2)),
    ]
    for there, here in pairs:
        assert isinstance(there, gpu.ndarray)
        assert fd.to_numpy(there).tolist() == here.tolist()


# --- the kernel, without a GPU ---------------------------------------------------------------------------------------


def test_the_kernel_compiles_for_the_gpu(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    (tmp_path / "words.cu").write_text(cuda.SOURCE)
    done = subprocess.run([nvcc, "-ptx", "-Werror", "all-warnings", "words.cu"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ".entry fdezero_words" in (tmp_path / "words.ptx").read_text()


ON_THE_CPU = r"""
#define __device__ static
#define __global__
#define __umul64hi(a, b) ((unsigned long long)((unsigned __int128)(a) * (b) >> 64))
struct { unsigned x; } blockIdx, blockDim, threadIdx;
%s
extern "C" void block(word* x, word k0, word k1) { philox4x64(x, k0, k1); }
extern "C" void launch(unsigned grid, unsigned block, const word* keys, const word* starts, word start, word has_starts,
                       word* out, word n, word count, word domain) {
    blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)
            fdezero_words(keys, starts, start, has_starts, out, n, count, domain);
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The source of the GPU's kernel compiled for the CPU, all threads in turn."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "words.cpp").write_text(ON_THE_CPU % cuda.SOURCE)
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", "words.so", "words.cpp"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "words.so"))
    word, pointer = ctypes.c_uint64, np.ctypeslib.ndpointer(np.uint64, flags="C")
    library.launch.argtypes = [ctypes.c_uint, ctypes.c_uint, pointer, pointer, word, word, pointer, word, word, word]
    library.block.argtypes = [pointer, word, word]
    library.launch.restype = library.block.restype = None
    return library


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (0, [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]),
        (2**64 - 1, [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]),
    ],
)
def test_the_kernel_gives_the_known_answers_of_random123(compiled: Any, number: int, answer: list[int]) -> None:
    block = np.full(4, number, np.uint64)
    compiled.block(block, number, number)
    assert block.tolist() == answer


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4), st.integers(1, 30), st.integers(0, 2), st.booleans())
def test_the_kernel_computes_numpys_words(compiled: Any, rows: Any, count: int, domain: int, has_starts: bool) -> None:
    array = np.array(rows, np.uint64)
    keys_, starts = np.ascontiguousarray(array[:, :2]), np.ascontiguousarray(array[:, 2])
    out = np.zeros((len(rows), count), np.uint64)
    threads = len(rows) * -(-count // 4)
    compiled.launch(-(-threads // 8), 8, keys_, starts if has_starts else keys_, rows[0][2], has_starts, out, len(rows), count, domain)
    expected = [reference(row[:2], count, int(row[2]) if has_starts else rows[0][2], domain).tolist() for row in array]
    assert out.tolist() == expected


def test_one_launch_a_draw(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launches: list[Any] = []
    plain = strict_cupy.RawKernel.__call__
    monkeypatch.setattr(strict_cupy.RawKernel, "__call__", lambda self, *args: (launches.append(args[:2]), plain(self, *args)))
    random.bits(fd.to_device(random.key(0), "gpu"), 5000, "uint16")
    assert launches == [((math.ceil(5000 / 4 / 4 / 256),), (256,))]


@pytest.mark.parametrize("count", [2**14 - 1, 2**14, 2**14 + 3, 5 * 2**14 + 1])
def test_normal_numbers_are_the_same_in_pieces(count: int) -> None:
    """Large draws are computed a piece at a time."""
    key = random.key(3)
    words = random.bits(key, (count + 1) // 2 * 2).reshape(-1, 2) >> 11
    radius, angle = np.sqrt(-2 * np.log((words[:, 0] + 1) / 2**53)), words[:, 1] / 2**53 * 2 * np.pi
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]
    np.testing.assert_allclose(random.normal(key, count, np.float64), expected, rtol=1e-12, atol=1e-15)
    keys = random.split(key, 2)
    assert np.array_equal(fd.vmap(lambda k: random.normal(k, count))(keys), [random.normal(k, count) for k in keys])
