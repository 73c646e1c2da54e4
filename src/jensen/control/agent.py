"""Collect, fit, plan: a world model learned from what an agent does, round after round."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jensen import fit
from jensen.control.collect.episodes import gathered
from jensen.control.plan import CEM, AbstractSearch, AbstractStarts, Planner
from jensen.control.policies.base import Policy
from jensen.control.policies.uniform import UniformPolicy, usual_repeat
from jensen.control.replay.buffer import Replay
from jensen.control.replay.data import HEADS
from jensen.control.spaces import ActionSpace
from jensen.control.worlds.model import ModelWorld
from jensen.core import Inference
from jensen.errors import InputError, check_key
from jensen.fit.files import make_folder, write_atomically
from jensen.fit.run import started_over
from jensen.typing import PRNGKey

if TYPE_CHECKING:
    from optax import GradientTransformation

_FACTS, _DONE = "agent.json", "collected.json"

WINDOW = 50
"""Steps of the windows that a world model learns from, where nobody says."""


@dataclass(frozen=True)
class Rounds:
    """What is collected.

    Attributes:
        first: Episodes before the first fit.
        further: Rounds after it, each of episodes by the planner in the model fitted last.
        episodes: Episodes of each of them.
        together: Copies of the environment stepped together.

    Raises:
        InputError: A number out of range.
    """

    first: int = 100
    further: int = 0
    episodes: int = 5
    together: int = 20

    def __post_init__(self):
        for name, least in (("first", 1), ("further", 0), ("episodes", 1), ("together", 1)):
            if getattr(self, name) < least:
                raise InputError(f"Rounds: {name} is {getattr(self, name)}; it must be at least {least}")


@dataclass(frozen=True)
class Training:
    """How the model of each round is fitted, by ``fit.gradient``.

    Attributes:
        optimizer: Begun anew in each round; the parameters go on from the round before.
        steps: Gradient steps of the first round.
        further: Of each later one; as many by default.
        batch_size: Windows a step; of the default ones at most as many as there are.
        batches: As in ``fit.gradient``; by default ``fit.Windows(50)``, or whole episodes if none is longer.
    """

    optimizer: GradientTransformation
    steps: int = 2500
    further: int | None = None
    batch_size: int = 16
    batches: Any = None

    def over(self, data: fit.Data) -> tuple[Any, int]:
        """Return what a step sees of such data: how it is cut, and how many pieces."""
        if self.batches is not None:
            return self.batches, self.batch_size
        lengths = np.full(len(data), data.x.shape[1]) if data.lengths is None else np.asarray(data.lengths)
        if lengths.max() <= WINDOW:
            return None, min(self.batch_size, len(lengths))
        return fit.Windows(WINDOW), min(self.batch_size, int(np.ceil(lengths / WINDOW).sum()))


@dataclass(frozen=True, eq=False)
class Round:
    """What one round brought.

    Attributes:
        returns: Undiscounted return of each episode collected, (N,).
        steps: Steps in the environment up to and with this round.
        bound: Mean bound of the last tenth of the fit, nats per sequence of the data so far.
        seconds: Wall time of the fit, all its interrupted parts included.
    """

    returns: np.ndarray
    steps: int
    bound: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Learned:
    """An agent that has learned a world.

    Attributes:
        fitted: The model of the last round.
        policy: The planner in it.
        replay: All episodes.
        rounds: What each round brought.
    """

    fitted: fit.Fitted
    policy: Planner
    replay: Replay
    rounds: tuple[Round, ...]

    def __str__(self) -> str:
        lines = ["round  episodes  env steps  mean return  fit"]
        for i, r in enumerate(self.rounds):
            lines.append(
                f"{i:5}  {len(r.returns):8}  {r.steps:9,}  {r.returns.mean():11.1f}  {r.seconds:.0f} s"
            )
        return "\n".join(lines)


def learn(
    env: Any,
    inference: Inference,
    *,
    training: Training,
    rounds: Rounds | None = None,
    first: Policy | None = None,
    search: AbstractSearch | None = None,
    starts: AbstractStarts | None = None,
    run: fit.Run | None = None,
    key: PRNGKey,
) -> Learned:
    """Collect episodes, fit a world model to them, act by planning in it; again if asked to.

    With ``run`` each round keeps its episodes and its fit in a folder, ``round-000`` and on. After a kill,
    the same call with ``fit.Run(folder, resume=True)`` goes on: a fit at its last checkpoint, a collection at
    its beginning; both to the same bits as if never interrupted, where environment and first policy are made
    anew as they were. At the end the folder is also the run directory of the last fit.

    Args:
        env: As in ``control.collect``.
        inference: A recurrent model with a head for the reward (and a second, Bernoulli, for whether the
            episode continues), under ``posteriors.Filtering``.
        training: How it is fitted.
        rounds: What is collected.
        first: Acts in the first round; uniform random actions by default, in a Box each held for ten steps.
        search: How plans are found; ``CEM()`` by default.
        starts: What they start from; the mean of what is believed by default.
        run: The run directory.
        key: Randomness of everything but ``first``.

    Returns:
        The fitted model, the planner in it, and all episodes.

    Raises:
        InputError: A model that cannot be planned in, settings other than those of the run to resume, or as
            ``collect`` and ``fit.gradient``.

    Example:
        The page ``docs/control/planning.md`` runs one; here, what cannot be planned in costs no episode.

        >>> import jax, optax, jensen as jn
        >>> from jensen import control
        >>> gaussian = jn.families.DiagGaussian(2)
        >>> model = jn.models.RSSM(3, 1, deter_dim=8, latent=gaussian, key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(gaussian, like=model, key=jax.random.key(1))
        >>> control.learn(
        ...     "Pendulum-v1", jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam()),
        ...     training=control.Training(optax.adam(1e-3)), key=jax.random.key(2))
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: ModelWorld: RSSM has no reward head, and a planner needs one; ...
    """
    check_key(key)
    rounds, search = rounds or Rounds(), search or CEM()
    ModelWorld(inference)  # refuse what cannot be planned in before an episode is spent on it
    settings = {"rounds": rounds, "search": search, "starts": starts}
    folder = None if run is None else _opened(run, _identity(inference, training, settings, key))
    replay, results, fitted = Replay(), [], None
    policy: Policy | None = first
    for number in range(rounds.further + 1):
        to_seed, to_fit, to_plan = jax.random.split(jax.random.fold_in(key, number), 3)
        place = None if folder is None else folder / f"round-{number:03}"
        count = rounds.episodes if number else rounds.first
        got = _collected(env, policy, count, rounds.together, to_seed, place)
        replay.expect(got.space, got.layout)
        replay.extend(got)
        before = inference if fitted is None else fitted.inference
        fitted = _fitted(before, replay, training, number, run, place, to_fit)
        world = ModelWorld(fitted, latent="mean")
        policy = Planner(world, got.space, search=search, starts=starts, key=to_plan)
        results.append(_summed(got, replay, fitted))
    assert fitted is not None and isinstance(policy, Planner)  # there is a first round
    if folder is not None:
        fit.save(fitted, folder)
    return Learned(fitted, policy, replay, tuple(results))


def _collected(
    env: Any, policy: Policy | None, count: int, together: int, key: PRNGKey, place: Path | None
) -> Replay:
    """Collect the episodes of a round, or read those it has collected."""
    kept = None if place is None else place / "episodes"
    if place is not None and kept is not None:
        if (place / _DONE).exists():
            return Replay(folder=kept)
        shutil.rmtree(kept, ignore_errors=True)  # what a kill left: the round is collected from its start
    into = Replay(folder=kept)
    # far apart, so that no two rounds share an episode's seed
    seed = int(jax.random.randint(key, (), 0, 2**30))

    def acts(space: ActionSpace) -> Policy:
        return UniformPolicy(space, repeat=usual_repeat(space), seed=seed) if policy is None else policy

    got = gathered(env, acts, episodes=count, seed=seed, into=into, num_envs=together)
    if place is not None:
        facts = {"episodes": len(got), "returns": got.returns.tolist()}
        write_atomically(place / _DONE, json.dumps(facts).encode())
    return got


def _fitted(
    inference: Inference,
    replay: Replay,
    training: Training,
    number: int,
    run: fit.Run | None,
    place: Path | None,
    key: PRNGKey,
) -> fit.Fitted:
    """Fit the model of a round to all episodes so far, or go on with it."""
    heads = inference.model.data_dim - inference.model.seen_dim
    further = training.steps if training.further is None else training.further
    data = replay.to_data(heads=HEADS[:heads])
    batches, size = training.over(data)
    return fit.gradient(
        inference,
        data,
        key=key,
        optimizer=training.optimizer,
        steps=further if number else training.steps,
        batch_size=size,
        batches=batches,
        run=None if run is None or place is None else replace(run, folder=place),
    )


def _summed(got: Replay, replay: Replay, fitted: fit.Fitted) -> Round:
    bound = np.asarray(fitted.history.bound)
    last = bound[-max(1, len(bound) // 10) :]
    return Round(got.returns, replay.steps, float(last.mean()), fitted.history.seconds)


def _identity(
    inference: Inference, training: Training, settings: dict[str, Any], key: PRNGKey
) -> dict[str, str]:
    """Say what a resumed run must share with the run it continues; each fit checks the rest itself."""
    return {
        "model": type(inference.model).__name__,
        # an optimizer is functions, of which each fit keeps a digest
        "training": repr(replace(training, optimizer=None)),  # pyright: ignore[reportArgumentType]
        **{name: repr(value) for name, value in settings.items()},
        "key": str(jax.random.key_data(key).tolist()),
    }


def _opened(run: fit.Run, mine: dict[str, str]) -> Path:
    """Return the folder, ready to begin in or to go on in."""
    folder = make_folder(Path(run.folder))
    facts = folder / _FACTS
    if run.resume and facts.exists():
        theirs = json.loads(facts.read_text())
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise InputError(
                    f"{folder} was made with another {name}: resume with the same one, or start over with "
                    "resume=False"
                )
        return folder
    rounds = sorted(folder.glob("round-[0-9][0-9][0-9]"))
    if rounds:
        started_over(folder, f"{len(rounds)} rounds of episodes")
    for old in rounds:
        shutil.rmtree(old)
    write_atomically(facts, json.dumps(mine, indent=1).encode())
    return folder
