"""Types as users' checkers see them: mypy passes a training script and finds planted mistakes."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Strict with the scripts. For fdezero the settings are those of its own check, whose cache serves here, because reading NumPy and
# fdezero takes longer than the rest.
OWN = re.findall(r"^\[tool\.mypy\]\n.*?(?=^\[tool\.(?!mypy)|\Z)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]
STRICT = [
    "check_untyped_defs", "disallow_any_generics", "disallow_incomplete_defs", "disallow_subclassing_any", "disallow_untyped_calls",
    "disallow_untyped_decorators", "disallow_untyped_defs", "extra_checks", "strict_equality", "warn_return_any", "warn_unused_ignores",
]  # fmt: skip
SCRIPT = '''
from typing import Any, assert_type

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.data import DataLoader

opt = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3))


class Classifier(fd.Module):
    body: nn.MLP
    scale: np.ndarray
    power: int = fd.static(default=1)

    def __call__(self, x: np.ndarray) -> Any:
        return self.body(x) * self.scale**self.power


class Tagged(Classifier):
    tag: str = fd.static(kw_only=True)


def with_ones(x: np.ndarray) -> np.ndarray:
    return fnp.concatenate([x, fnp.ones((len(x), 1), np.float32)], axis=1)


def loss_fn(model: Classifier, x: np.ndarray, t: np.ndarray) -> Any:
    return F.softmax_cross_entropy(model(x), t) + 1e-4 * fnp.sum(model.scale**2)


@fd.compile(threads=1)
def step(model: Classifier, state: Any, x: np.ndarray, t: np.ndarray) -> tuple[Classifier, Any, float]:
    loss, grads = fd.value_and_grad(loss_fn)(model, x, t)
    model, state = opt.step(model, grads, state)
    return model, state, loss


def main() -> None:
    key = fd.random.key(0)
    model = Classifier(nn.MLP.init(key, (4, 8, 3), activation=F.relu), np.ones(3, np.float32))
    state = opt.init(model)
    x, t = with_ones(fd.random.normal(key, (12, 3))), np.zeros(12, np.int64)
    loader = DataLoader((x, t), 4, key=key)
    for epoch in range(2):
        for x, t in loader.epoch(epoch):
            model, state, loss = step(model, state, x, t)
            assert_type(loss, float)
    assert_type(model, Classifier)
    tagged = Tagged(model.body, model.scale, 2, tag="second")
    assert_type(tagged.replace(power=1), Tagged)
    slopes, slope = fd.grad(loss_fn)(model, x, t), fd.vmap(np.sin)(x)
    largest: float = fnp.max(x)
    print(largest, x.mean(axis=0) @ x.T, nn.Sequential([nn.Linear.init(key, 4, 2), F.relu])(x))
    print(fd.tree.map(np.shape, slopes), slope, fd.compile(np.sin)(x), step.source)


if __name__ == "__main__":
    main()
'''
MISTAKES = {
    "labels": ("step(model, state, x, t)", "step(model, state, x)", 'Missing positional argument "t" in call'),
    "keyword": ("value_and_grad(loss_fn)(model, x, t)", "value_and_grad(loss_fn)(model, x, y=t)", 'Unexpected keyword argument "y"'),
    "gradient": ("fd.grad(loss_fn)(model, x, t)", "fd.grad(loss_fn)(x, x, t)", "Argument 1 has incompatible type"),
    "state": ("model, state = opt.step", "model = opt.step", "Incompatible types in assignment"),
    "option": ("fd.compile(threads=1)", "fd.compile(thread=1)", 'Unexpected keyword argument "thread"'),
    "sizes": ("(4, 8, 3)", "4", 'Argument 2 to "init" of "MLP"'),
    "seed": ("fd.random.normal(key,", "fd.random.normal(0,", 'Argument 1 to "normal" has incompatible type "int"'),
    "member": ("fnp.ones((len(x), 1), np.float32)]", "fnp.ones(1).expand(len(x), 1)]", 'has no attribute "expand"'),
    "missing field": (", np.ones(3, np.float32))", ")", 'Missing positional argument "scale" in call to "Classifier"'),
    "field": ("model.scale, 2,", "2, 2,", 'Argument 2 to "Tagged" has incompatible type "int"'),
    "static field": ("model.scale, 2,", "model.scale, 'square',", 'Argument 3 to "Tagged" has incompatible type "str"'),
    "field by name": ('tag="second"', 'name="second"', 'Unexpected keyword argument "name" for "Tagged"'),
    "assignment": ("tagged = Tagged", "model.power = 2; tagged = Tagged", 'Property "power" defined in "Classifier" is read-only'),
    "order": ("tag: str = fd.static(kw_only=True)", "tag: str", "Attributes without a default cannot follow attributes with one"),
    "name": ("fnp.sum", "fnp.summ", 'has no attribute "summ"'),
}  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: it comes with the extra dev")
def test_mypy_passes_a_training_script_and_finds_mistakes_in_it(tmp_path: Path) -> None:
    scripts = {"right": SCRIPT, **{f"wrong_{name}": SCRIPT.replace(old, new) for name, (old, new, _) in MISTAKES.items()}}
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    strict = "".join(f"{name} = true\n" for name in STRICT) + "implicit_reexport = false\nignore_missing_imports = false\n"
    (tmp_path / "mypy.toml").write_text(f"{OWN}\n[[tool.mypy.overrides]]\nmodule = {[*scripts]}\n{strict}", encoding="utf-8")
    files = [str(tmp_path / f"{name}.py") for name in scripts]
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.toml"), *files]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = [line.replace("\\", "/").partition(f"{tmp_path.name}/")[2] for line in run.stdout.splitlines()]  # those about the scripts
    errors = [line for line in lines if ": error: " in line]
    assert not [line for line in errors if not line.startswith("wrong_")], run.stdout + run.stderr
    written = SCRIPT.splitlines()
    for name, (old, _, expected) in MISTAKES.items():
        place = f"wrong_{name}.py:{next(i for i, line in enumerate(written, 1) if old in line)}: "
        found = [line for line in errors if line.startswith(f"wrong_{name}.py")]
        assert any(line.startswith(place) and expected in line for line in found), (name, found, run.stdout + run.stderr)


def test_the_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(SCRIPT, {"__name__": "__main__"})
    assert "def step(model_body_layers_0_W" in capsys.readouterr().out  # the compiled program, printed at the end
