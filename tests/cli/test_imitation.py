"""``jensen imitate``: learn from demonstrations, act, report; and what cannot be imitated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("gymnasium")

from jensen import control, envs
from jensen.cli import main
from jensen.cli.imitation_options import IMITATION, POLICIES
from jensen.control.recipes import KINDS, Settings

SMALL = ["--widths", "4", "--steps", "6", "--episodes", "8", "--evaluate", "4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A policy that learned next to nothing, and what the command said."""
    import contextlib
    import io

    folder, said = tmp_path_factory.mktemp("imitation") / "run", io.StringIO()
    words = ["imitate", "jensen/Tree-v0", "--policy", "mse", "--shares", "0.25,0.75", *SMALL]
    with contextlib.redirect_stdout(said):
        assert main([*words, "--out", str(folder)]) == 0
    return folder, said.getvalue().splitlines()


def test_it_says_what_it_does_and_what_came_of_it(run: tuple[Path, list[str]]):
    folder, said = run
    assert said[0].startswith("jensen/Tree-v0: 8 demonstrations of 12")
    assert said[0].endswith(" steps, 2 observations, 2 actions (8 succeed; left 0.12, right 0.88)")
    assert said[1].startswith("mse: widths 4, steps 6, learning rate ")
    assert "acting in 4 episodes of jensen/Tree-v0" in said
    table = json.loads((folder / "evaluation.json").read_text())
    assert {"success", "return", "modes", "held-out −log p"} <= set(table)
    assert any(line.split() == ["success", *table["success"].split()] for line in said)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["imitate"] == "jensen/Tree-v0" and config["shares"] == [0.25, 0.75]
    page = (folder / "report.html").read_text("utf-8")
    assert "<h2>What it does</h2>" in page and "policy, 4 episodes" in page and "95%, Wilson" in page


def test_the_policy_can_be_taken_up_again(run: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]):
    import jax

    folder, _ = run
    before = json.loads((folder / "evaluation.json").read_text())
    acting = control.load_policy(folder, key=jax.random.key(0))
    assert acting.predict(np.zeros((5, 2))).shape == (5, 2)
    assert main(["imitate", "--resume", str(folder)]) == 0
    assert json.loads((folder / "evaluation.json").read_text()) == before
    capsys.readouterr()
    for command in (["gap"], ["sample"], ["report"], ["fit", "--resume"]):
        assert main([*command, str(folder)]) == 2
        assert "holds an imitation: look at its report.html" in capsys.readouterr().err
    assert main(["imitate", "jensen/Tree-v0", "--out", str(folder)]) == 2
    assert "holds a run; choose another --out, or replace it with --overwrite" in capsys.readouterr().err


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("episodes") / "walks.npz"
    episodes = envs.demonstrate("jensen/Tree-v0", 6, seed=0)
    np.savez(
        path,
        obs=np.concatenate(episodes.observations),
        acts=np.concatenate(episodes.actions),
        act_lengths=episodes.lengths,
    )
    return str(path)


def test_recorded_episodes_with_a_place_to_act(recorded: str, here: Path, capsys: pytest.CaptureFixture[str]):
    words = ["imitate", recorded, "--policy", "cvae", "--hold", "step", "--widths", "4", "--steps", "4"]
    assert main([*words, "--env", "jensen/Tree-v0", "--evaluate", "2", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "6 demonstrations" in out and "cvae: hold step, latent 2" in out and "at most" in out
    assert main([*words, "--out", "blind"]) == 0
    out = capsys.readouterr().out
    assert "name its environment with --env" in out and "held-out −log p: at most" in out
    assert not Path("blind/evaluation.json").exists()


def test_names_and_defaults_are_those_of_control():
    assert POLICIES == KINDS
    for name in ("horizon", "components", "latent", "widths", "steps", "validation"):
        value = getattr(Settings(), name)
        said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert f"(default {said})" in IMITATION[name].help


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to imitate; name an environment or recorded episodes"),
        (["jensen/Tre-v0"], "no environment 'jensen/Tre-v0' (did you mean 'jensen/Tree-v0'?)"),
        (["CartPole-v1"], "CartPole-v1 has no demonstrator of its own; give recorded episodes"),
        (["jensen/Tree-v0", "--policy", "mdm"], "no such choice (did you mean 'mdn'?)"),
        (["jensen/Tree-v0", "--holt", "step"], "unknown option --holt (did you mean '--hold'?)"),
        (["jensen/Tree-v0", "--hold", "step"], "mdn holds no latent"),
        (["jensen/Tree-v0", "--shares", "0.5,0.6"], "it must be probabilities that sum to 1"),
        (["jensen/Tree-v0", "--shares", "0.2,0.3,0.5"], "shares must be 2 probabilities (left, right)"),
        (["jensen/Tree-v0", "--policy", "categorical"], "categorical predicts codes"),
        (["jensen/Tree-v0", "--horizon", "99"], "every episode is shorter than the chunk of 99 actions"),
        (["jensen/Tree-v0", "--env", "jensen/Tree-v0"], "--env is for recorded episodes"),
        (["none.npz"], "none.npz: cannot be read: No such file or directory"),
        (["codes.npz", "--policy", "gaussian"], "actions are 2 discrete choices; use --policy categorical"),
        (["codes.npz", "--noise", "1"], "--noise is for environments that demonstrate"),
        (
            ["codes.npz", "--env", "jensen/Tree-v0", "--policy", "mdn"],
            "actions are codes, but the space is a Box",
        ),
        (["wide.npz", "--env", "jensen/Tree-v0"], "outside"),
        (["uneven.npz"], "observations"),
    ],
)
def test_what_cannot_be_imitated(words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]):
    seen = np.zeros((12, 2))
    np.savez("codes.npz", obs=seen, acts=np.arange(10) % 2, act_lengths=[5, 5])
    np.savez("wide.npz", obs=seen, acts=np.full((10, 2), 3.0), act_lengths=[5, 5])
    np.savez("uneven.npz", obs=seen[:11], acts=np.zeros((10, 2)), act_lengths=[5, 5])
    assert main(["imitate", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and error.startswith("jensen: ") and said in error, error
    assert not Path("runs").exists()


def test_an_environment_that_breaks_is_stopped(
    run: tuple[Path, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
    capsys: pytest.CaptureFixture[str],
):
    step = envs.Tree.step

    def broken(
        self: envs.Tree, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        observation, *rest = step(self, action)
        if action[0] == 0.5:  # the demonstrator never does just that
            return observation * np.nan, *rest
        return observation, *rest

    monkeypatch.setattr(envs.Tree, "step", broken)
    monkeypatch.setattr(control.MixturePolicy, "select_action", lambda self, o: np.full((len(o), 2), 0.5))
    words = ["imitate", "jensen/Tree-v0", "--policy", "mse", *SMALL, "--out", "run"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "the observation after step 0 of the episode with seed 0 is not finite" in error
    assert Path("run/model.json").exists()  # what was learned is kept
