"""Checkpoints: the newest intact one is found, and none is ever half there."""

from __future__ import annotations

import errno
import shutil
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from fit_interrupts import Killed, interrupt

from jensen.errors import CorruptRunError, InputError, JensenWarning
from jensen.fit.checkpoints import clear_checkpoints, latest_checkpoint, save_checkpoint

KEY = jax.random.key(0)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_newest_checkpoints_stay_and_the_newest_is_found(tmp_path: Path):
    assert latest_checkpoint(tmp_path) is None
    for step in (0, 100, 1200):
        path = save_checkpoint(tmp_path, step, {"w": jnp.full(2, float(step))}, extra={"epoch": step // 100})
    assert path == tmp_path / "checkpoints" / "step-00001200"
    assert names(tmp_path) == ["step-00000100", "step-00001200"]
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.step == 1200 and found.folder == path
    loaded = found.load(like={"w": jnp.full(2, 0.0)})
    assert loaded.tree["w"].tolist() == [1200.0, 1200.0] and loaded.extra == {"epoch": 12}
    save_checkpoint(tmp_path, 123456789, {"w": 1}, keep=1)
    assert names(tmp_path) == ["step-123456789"]
    # A kill while removing leaves a hidden folder, which must not keep the next removal from working.
    shutil.copytree(tmp_path / "checkpoints", tmp_path / ".checkpoints.old.tmp")
    clear_checkpoints(tmp_path)
    assert latest_checkpoint(tmp_path) is None and not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"w": jnp.ones(2)})
    broken = tmp_path / "checkpoints" / "step-00000002" / "state.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1])
    with pytest.warns(JensenWarning, match="passing over a damaged checkpoint: .*step-00000002"):
        found = latest_checkpoint(tmp_path)
    assert found is not None and found.step == 1
    # A run resumed from step 1 leaves the damaged future behind it.
    save_checkpoint(tmp_path, 2, {"w": jnp.zeros(2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest_checkpoint(tmp_path) == (2, broken.parent)
    save_checkpoint(tmp_path, 1, {"w": jnp.zeros(2)})
    assert names(tmp_path) == ["step-00000001"]
    (tmp_path / "checkpoints" / "step-00000001" / "state.json").unlink()
    with (
        pytest.warns(JensenWarning),
        pytest.raises(CorruptRunError, match=r"all 1 checkpoints in .* are damaged"),
    ):
        latest_checkpoint(tmp_path)


def test_a_checkpoint_with_a_lambda_resumes_from_a_template(tmp_path: Path):
    net = eqx.nn.MLP(1, 1, 1, 1, activation=lambda x: 2 * x, key=KEY)
    save_checkpoint(tmp_path, 5, net)
    found = latest_checkpoint(tmp_path)
    assert found is not None and eqx.tree_equal(found.load(like=net).tree, net)


@pytest.mark.parametrize("call", ["replace", "fsync", "open"])
@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_stop_while_checkpointing_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
):
    for at in range(30):
        clear_checkpoints(tmp_path)
        save_checkpoint(tmp_path, 1, {"w": 1.0})
        with monkeypatch.context() as patch:
            interrupt(patch, call, at, error)
            try:
                save_checkpoint(tmp_path, 2, {"w": 2.0}, keep=1)
                finished = True
            except (Killed, InputError):
                finished = False
        found = latest_checkpoint(tmp_path)
        assert found is not None and found.load().tree == {"w": float(found.step)}
        save_checkpoint(tmp_path, 3, {"w": 3.0}, keep=1)
        assert names(tmp_path) == ["step-00000003"]
        if finished and at > 10:
            return


def test_impossible_checkpoints(tmp_path: Path):
    for options in ({"keep": 0, "step": 1}, {"keep": 1, "step": -1}):
        with pytest.raises(InputError, match="keep >= 1 and step >= 0"):
            save_checkpoint(tmp_path, tree=(), **options)
