"""``jensen control``: every part from end to end where it is cheap, and every bad input in one line."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

pytest.importorskip("gymnasium")

import gymnasium

from jensen import control
from jensen.cli import main
from jensen.cli.control_options import BONUSES, CONTROL, DEFAULTS, PARTS, TITLES, example
from jensen.cli.control_worlds import longest
from jensen.envs import CliffWorld, DeepSea


def said(words: list[str]) -> str:
    """Run a command that must succeed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["control", *words]) == 0, out.getvalue()
    return out.getvalue()


@pytest.fixture(scope="module")
def irl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A reward inferred from few demonstrations, in a small cliff world."""
    folder = tmp_path_factory.mktemp("control") / "irl"
    words = ["--with", "width=4,height=3", "--demonstrations", "6", "--steps", "40", "--out", str(folder)]
    return folder, said(["irl", "jensen/CliffWorld-v0", *words])


def test_a_reward_is_inferred_and_shown(irl: tuple[Path, str]):
    folder, text = irl
    assert text.startswith(
        "jensen/CliffWorld-v0: 12 states, 4 actions, 8 steps\n6 demonstrations of 48 actions\n"
    )
    kept = json.loads((folder / "evaluation.json").read_text())
    returns = kept["returns"]
    assert returns["random"] < returns["behaviour cloning"] < returns["inferred reward"] < returns["best"]
    assert returns["inferred reward"] > 0.7 * returns["best"]
    assert np.shape(kept["rewards"]) == (12, 4)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config == {
        "control": "irl", "env": "jensen/CliffWorld-v0", "seed": 0, "demonstrations": 6, "steps": 40,
        "with": {"width": 4, "height": 3},
    }  # fmt: skip
    page = (folder / "report.html").read_text("utf-8")
    assert "What is wanted in jensen/CliffWorld-v0" in page and ">inferred<" in page and ">true<" in page
    assert "all steps were done" in page


def test_a_run_resumes_and_its_config_makes_the_same_again(
    irl: tuple[Path, str], here: Path, capsys: pytest.CaptureFixture[str]
):
    folder, _ = irl
    before = json.loads((folder / "evaluation.json").read_text())
    said(["irl", "--resume", str(folder)])
    assert json.loads((folder / "evaluation.json").read_text()) == before
    said(["irl", "--config", str(folder / "config.yaml"), "--steps", "2", "--out", "again"])
    config = yaml.safe_load(Path("again/config.yaml").read_text())
    assert config["steps"] == 2 and config["with"] == {"width": 4, "height": 3}
    Path("odd.yaml").write_text("control: irl\nstepz: 3\n")
    for words, line in (
        (["control", "irl", "jensen/CliffWorld-v0", "--out", "again"], "holds a run; choose another --out"),
        (
            ["control", "explore", "--config", "again/config.yaml"],
            "the config file is one of `jensen control irl`",
        ),
        (["control", "irl", "--config", "odd.yaml"], "unknown key 'stepz' (did you mean 'steps'?)"),
        (["control", "explore", "--resume", "again"], "holds `jensen control irl`; go on with that"),
        (["control", "irl", "--resume", "again", "--seed", "3"], "--resume goes on with a run's own options"),
        (["fit", "--resume", "again"], "holds a run of `jensen control irl`: look at its report.html"),
        (["imitate", "--resume", "again"], "holds a run of `jensen control irl`"),
    ):
        capsys.readouterr()
        assert main(words) == 2
        assert line in capsys.readouterr().err


def test_ways_to_explore_are_compared(tmp_path: Path):
    words = [
        "--with",
        "size=4",
        "--episodes",
        "60",
        "--runs",
        "3",
        "--bonus",
        "optimistic-counts",
    ]
    text = said(["explore", "jensen/DeepSea-v0", *words, "--out", str(tmp_path / "run")])
    assert "16 states, 2 actions, 4 steps; best return 0.99" in text
    kept = json.loads((tmp_path / "run/evaluation.json").read_text())
    runs = kept["runs"]
    assert set(runs) == {"optimistic-counts"}
    assert all(isinstance(first, int) for first in runs["optimistic-counts"]["solved"])
    assert np.mean(runs["optimistic-counts"]["last returns"]) == pytest.approx(0.99, abs=1e-3)
    page = (tmp_path / "run/report.html").read_text("utf-8")
    for words in ("When it was solved", "Where the bonus is", "bonus left", "half of the way"):
        assert words in page


def test_names_and_defaults_are_those_of_control():
    from jensen.control import explore

    assert BONUSES == explore.METHODS
    assert set(PARTS) == set(CONTROL) == set(DEFAULTS) == set(TITLES)
    for part in PARTS:
        assert set(DEFAULTS[part]) <= set(CONTROL[part])
        assert example(part).startswith(f"jensen control {part} jensen/")


def test_episodes_end_where_the_world_does():
    sea = DeepSea(5)
    assert longest(sea, sea.mdp()) == 5
    cliff = CliffWorld()
    assert longest(cliff, cliff.mdp()) == 8


BAD = [
    ([], "which part? plan, imagine, explore, irl"),
    (["pln"], "unknown part 'pln' (did you mean 'plan'?)"),
    (["irl"], "where? Name an environment, as in `jensen control irl jensen/CliffWorld-v0`"),
    (["irl", "a", "b"], "'b' is one word too many"),
    (["irl", "jensen/ClifWorld-v0"], "no environment 'jensen/ClifWorld-v0' (did you mean 'jensen/CliffWorld-v0'?)"),
    (["irl", "CartPole-v1"], "CartPole-v1 has no table of states"),
    (["explore", "CartPole-v1"], "it takes jensen/DeepSea-v0, jensen/CliffWorld-v0"),
    (["explore", "jensen/DeepSea-v0", "--with", "size=1"], "size is 1; it must be at least 2"),
    (["explore", "jensen/DeepSea-v0", "--with", "sze=4"], "sze"),
    (["explore", "jensen/DeepSea-v0", "--with", "size"], "names and values like size=20,stochastic=true"),
    (["explore", "jensen/DeepSea-v0", "--bonus", "count"], "no such choice (did you mean 'counts'?)"),
    (["explore", "jensen/DeepSea-v0", "--episods", "3"], "unknown option --episods (did you mean '--episodes'?)"),
    (["irl", "jensen/CliffWorld-v0", "--temperature", "-1"], "--temperature is -1; it must be a number above 0"),
    (["irl", "jensen/CliffWorld-v0", "--temperature", "0"], "--temperature is 0; it must be a number above 0"),
    (["irl", "jensen/CliffWorld-v0", "--discount", "1.5"], "--discount is 1.5; it must be a number above 0"),
    (["irl", "jensen/CliffWorld-v0", "--horizon", "0"], "--horizon is 0; it must be a whole number, at least 1"),
    (["plan", "jensen/PixelPendulum-v0", "--horizon", "0"], "--horizon is 0; it must be a whole number"),
    (["plan", "jensen/PixelPendulum-v0", "--temperature", "-2"], "--temperature is -2; it must be a number above 0"),
    (["irl", "jensen/CliffWorld-v0", "--recorded", "none.npz"], "none.npz: cannot be read"),
    (["irl", "jensen/CliffWorld-v0", "--recorded", "x.npz", "--demonstrations", "3"], "--recorded brings its own"),
    (["irl", "jensen/CliffWorld-v0", "--recorded", "jump.npz"], "episode 0, step 1: action 1 in state 9 leads to state 27"),
    (["irl", "jensen/CliffWorld-v0", "--recorded", "far.npz"], "episode 1, step 1: the observation is none of the 28 states"),
    (["irl", "jensen/CliffWorld-v0", "--recorded", "acts.npz"], "episode 0, step 0: action 7 is none of the 4 actions"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), BAD)
def test_bad_input_gets_one_line(words: list[str], line: str, here: Path, capsys: pytest.CaptureFixture[str]):
    # in the 4 × 7 cliff world action 1 goes up and to the right, 3 down and to the right
    walk = np.array([[15], [9], [3], [16], [24], [26]])
    for name, states, acts in (
        ("jump", np.where(walk == 3, 27, walk), [1, 1, 3, 3]),
        ("far", np.where(walk == 24, 28, walk), [1, 1, 3, 3]),
        ("acts", walk, [7, 1, 3, 3]),
    ):
        np.savez(f"{name}.npz", obs=states, acts=np.array(acts), act_lengths=[2, 2])
    assert main(["control", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and error.startswith("jensen: ") and line in error, error
    assert not Path("runs").exists()


def test_a_reward_that_says_nothing_says_why(here: Path, capsys: pytest.CaptureFixture[str]):
    # every action is taken once in the one state seen: even odds explain it
    np.savez("even.npz", obs=np.tile([[15], [15]], (4, 1)), acts=np.arange(4), act_lengths=[1] * 4)
    world = CliffWorld()
    to = [int(np.asarray(world.mdp().transitions)[15, a].argmax()) for a in range(4)]
    states = np.array([[15, s] for s in to]).reshape(-1, 1)
    np.savez("even.npz", obs=states, acts=np.arange(4), act_lengths=[1] * 4)
    text = said(["irl", "jensen/CliffWorld-v0", "--recorded", "even.npz", "--steps", "20", "--horizon", "1"])
    assert "n/a" in text or "correlation" in text
    assert "the reward says nothing" in capsys.readouterr().err
    assert "the reward says nothing" in Path("runs/irl-CliffWorld-v0/report.html").read_text("utf-8")


class Faulty(gymnasium.Env[Any, Any]):
    """Five numbers are seen; something goes wrong at step 2 of each episode after the first."""

    episodes: ClassVar[int] = 0

    def __init__(self, fault: str = ""):
        self.fault, self.clock = fault, 0
        self.observation_space = gymnasium.spaces.Box(-9, 9, (5,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        if fault == "words":
            self.action_space = gymnasium.spaces.Text(3)
        if fault == "codes":
            self.observation_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        Faulty.episodes, self.clock = Faulty.episodes + 1, 0
        return np.zeros(5, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        due = self.clock == 3 and Faulty.episodes > 1
        if self.fault == "raises" and due:
            raise RuntimeError("the arm is stuck")
        seen = np.zeros(6 if self.fault == "grows" and due else 5, np.float32)
        return seen, float("nan") if self.fault == "nan" and due else -1.0, False, self.clock == 4, {}


@pytest.fixture
def faulty() -> str:
    """Its id."""
    if "jensen-test/Faulty-v0" not in gymnasium.registry:
        gymnasium.register("jensen-test/Faulty-v0", entry_point=lambda **facts: Faulty(**facts))
    Faulty.episodes = 0
    return "jensen-test/Faulty-v0"


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("nan", "the reward of step 2 of the episode with seed"),
        ("raises", "raised RuntimeError (the arm is stuck) at step 2"),
        ("grows", "shape (6,) after ones of (5,) at step 2"),
    ],
)
def test_a_faulty_environment_is_named_and_its_episodes_are_kept(
    fault: str,
    line: str,
    faulty: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    # one copy after another, so that the first episode has ended when the second goes wrong
    monkeypatch.setattr(control.Rounds, "__init__", _one_at_a_time(control.Rounds.__init__))
    words = ["plan", faulty, "--with", f"fault={fault}", "--episodes", "3", "--latent", "2", "--out", "run"]
    assert main(["control", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and line in error and "keeps 1 whole episode" in error, error
    assert "what was done so far is kept" in error
    (kept,) = control.Replay(folder="run/round-000/episodes")
    assert len(kept.actions) == 4 and np.ptp(kept.actions) == 0  # pushes are held


def _one_at_a_time(begin: Any) -> Any:
    return lambda self, *facts, **more: begin(self, *facts, **more | {"together": 1})


@pytest.mark.parametrize(
    ("fault", "line"), [("words", "Text"), ("codes", "observations are a Discrete, not an array of numbers")]
)
def test_spaces_that_cannot_be_learned_in(
    fault: str, line: str, faulty: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    for part in ("plan", "imagine"):
        assert main(["control", part, faulty, "--with", f"fault={fault}"]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and line in error, error
    assert not Path("runs").exists()


def test_a_world_model_without_reward_is_refused(here: Path, capsys: pytest.CaptureFixture[str]):
    import jax

    import jensen as jn
    from jensen.fit.result import Fitted, History

    family = jn.families.DiagGaussian(2)
    model = jn.models.RSSM(3, 1, deter_dim=4, latent=family, decoder=(4,), key=jax.random.key(0))
    q = jn.posteriors.Filtering(family, like=model, widths=(4,), key=jax.random.key(1))
    four = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
    Fitted(four, History(np.arange(2), np.zeros(2)), "steps").save("blind")
    for words, line in (
        (["--world", "blind"], "RSSM has no reward head, and a planner needs one"),
        (["--world", "nowhere"], "--world nowhere: there is no fitted model; check the path"),
        (
            ["--world", "blind", "--steps", "3"],
            "--steps is for world models learned here; --world brings its own",
        ),
        (["--temperature", "1"], "--temperature is for --planner mppi; cem has none"),
        (["--evaluate", "101"], "at most 100 episodes"),
    ):
        assert main(["control", "plan", "Pendulum-v1", *words]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and line in error, error
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["plan", "imagine"])
def test_world_models_from_end_to_end(part: str, tmp_path: Path):
    small = ["--episodes", "4", "--steps", "5", "--horizon", "3", "--evaluate", "2", "--latent", "2"]
    more = ["--candidates", "8", "--iterations", "1"] if part == "plan" else ["--actor-steps", "3"]
    folder = tmp_path / "run"
    text = said([part, "jensen/PixelPendulum-v0", *small, *more, "--out", str(folder)])
    assert "1,024 numbers seen" in text and "acting in 2 episodes" in text
    if part == "imagine":  # pathwise gradients end where actions are clipped
        assert "squashed by tanh into [-2, 2]" in text
    before = json.loads((folder / "evaluation.json").read_text())
    assert len(before["returns"]) == len(before["random returns"]) == 2
    page = (folder / "report.html").read_text("utf-8")
    assert "What it sees and what it imagines" in page and "What stopped, and why" in page
    said([part, "--resume", str(folder)])
    after = json.loads((folder / "evaluation.json").read_text())
    assert after["returns"] == before["returns"]
