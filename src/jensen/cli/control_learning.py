"""What planning and imagination share at the command: a world model learned, and looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.cli.control_worlds import opened, source
from jensen.errors import CorruptRunError, InputError

if TYPE_CHECKING:
    from jensen.cli.control import Work
    from jensen.control import Learned, Replay
    from jensen.control.spaces import ActionSpace
    from jensen.control.worlds.model import ModelWorld
    from jensen.core import Inference
    from jensen.datasets import Episodes
    from jensen.fit import Fitted

USUAL: dict[str, Any] = {
    "episodes": 100,
    "rounds": 0,
    "per_round": 10,
    "latent": 16,
    "steps": 2500,
    "learning_rate": 2e-3,
}
"""What is collected, and what the world model is, when nobody says."""

PICTURE = 256
"""From so many numbers on an observation is taken for a picture: of many alike, few latents need to tell."""

FILM, BEFORE = 40, 8
"""Steps of the episode on film, and how many of them are seen."""


@dataclass(frozen=True)
class Place:
    """An environment as a world model sees it.

    Attributes:
        actions: The environment's own space of them.
        size: Numbers in an observation.
        image_shape: Of an observation that is a picture; None where nobody says so.
    """

    actions: Any
    size: int
    image_shape: tuple[int, ...] | None

    @property
    def space(self) -> ActionSpace:
        """The actions; those in a Box are clipped to it."""
        from jensen.control.spaces import action_space

        return action_space(self.actions)


def surveyed(work: Work) -> Place:
    """Look at an environment before anything is done in it.

    Raises:
        InputError: Its actions are neither a Box nor Discrete, or what it shows is no array of numbers.
    """
    import gymnasium

    from jensen import envs
    from jensen.control.spaces import action_space

    env = opened(work)
    inner, seen = env.unwrapped, env.observation_space
    action_space(env.action_space)  # refuse what is neither before an observation is looked at
    env.close()
    if not isinstance(seen, gymnasium.spaces.Box):
        raise InputError(
            f"{work.env}: observations are a {type(seen).__name__}, not an array of numbers; wrap the "
            "environment in gymnasium.wrappers.FlattenObservation"
        )
    if len(seen.shape) != 1:
        raise InputError(
            f"{work.env}: an observation has shape {seen.shape}, vectors are expected; wrap the environment "
            "in gymnasium.wrappers.FlattenObservation"
        )
    simulator = inner.simulator if isinstance(inner, envs.SimulatorEnv) else None
    shape = simulator.image_shape if isinstance(simulator, envs.PixelPendulum | envs.Planar) else None
    return Place(env.action_space, int(np.prod(seen.shape)), shape)


def world_model(place: Place, options: dict[str, Any]) -> Inference:
    """Return the four choices: an RSSM with heads for reward and end, filtered."""
    import jax

    import jensen as jn
    from jensen.control.replay.data import width_of
    from jensen.models import likelihoods

    pictures = place.size >= PICTURE
    width, deter, beta = (96, 128, 20.0) if pictures else (64, 64, 1.0)
    to_model, to_q = jax.random.split(jax.random.key(options["seed"]))
    family = jn.families.DiagGaussian(options.get("latent", USUAL["latent"]))
    model = jn.models.RSSM(
        place.size,
        width_of(place.space),
        deter_dim=deter,
        latent=family,
        decoder=(width, width),
        heads=(likelihoods.Gaussian(1), likelihoods.Bernoulli(1)),
        key=to_model,
    )
    q = jn.posteriors.Filtering(family, like=model, widths=(width,), encoder=(width, width), key=to_q)
    return jn.Inference(model, q, jn.objectives.ELBO(beta=beta), jn.gradients.Reparam())


def learned(work: Work, place: Place, search: Any) -> Learned:
    """Collect, fit, and again if asked to; what was done before in the run directory is taken up."""
    import jax
    import optax

    from jensen import control, fit
    from jensen.control.policies.uniform import usual_repeat

    options = USUAL | {"repeat": usual_repeat(place.space)} | work.options
    rate = optax.warmup_cosine_decay_schedule(0.0, options["learning_rate"], 100, max(options["steps"], 101))
    optimizer = optax.chain(optax.clip_by_global_norm(100.0), optax.adam(rate, eps=1e-5))
    rounds = control.Rounds(options["episodes"], options["rounds"], options["per_round"])
    print(f"{work.env}: {place.size:,} numbers seen, {place.space}", flush=True)
    print(_intended(options), flush=True)
    found = control.learn(
        source(work),
        world_model(place, options),
        training=control.Training(optimizer, options["steps"]),
        rounds=rounds,
        first=control.UniformPolicy(place.space, repeat=options["repeat"], seed=options["seed"]),
        search=search,
        run=fit.Run(work.folder, resume=True),
        key=jax.random.key(options["seed"]),
    )
    if found.fitted.stop_reason == "interrupted":
        raise KeyboardInterrupt
    print(found, flush=True)
    return found


def _intended(options: dict[str, Any]) -> str:
    long = f", each held for {options['repeat']} steps" if options["repeat"] > 1 else ""
    further = f", then {options['rounds']} rounds of {options['per_round']}" if options["rounds"] else ""
    return (
        f"{options['episodes']} episodes of random actions{long}{further}; a world model of "
        f"{options['latent']} latents, {options['steps']:,} steps"
    )


def given_world(work: Work) -> Fitted:
    """Return the world model of an earlier run.

    Raises:
        CorruptRunError: There is none.
        InputError: One without a reward head.
    """
    from pathlib import Path

    from jensen import fit
    from jensen.control.worlds.model import ModelWorld

    folder = Path(work.options["world"]).expanduser()
    if not (folder / "model.json").exists():
        raise CorruptRunError(f"--world {folder}: there is no fitted model; check the path")
    fitted = fit.load(folder)
    ModelWorld(fitted)
    return fitted


def by_chance(work: Work, place: Place, count: int) -> Episodes:
    """Return episodes of random actions from the starts that are acted from."""
    from jensen import control
    from jensen.control.policies.uniform import UniformPolicy

    seed = work.options["seed"]
    return control.record(source(work), UniformPolicy(place.space, seed=seed), count, seed=seed)


def filmed(world: ModelWorld, episodes: Episodes, place: Place, seed: int) -> list[Any]:
    """Return a film strip of the first episode; nothing where observations are no pictures."""
    from jensen.report.control_film import film

    seen, acts = episodes.observations[0][:FILM], episodes.actions[0]
    if place.image_shape is None or len(seen) < BEFORE + 2:
        return []
    rebuilt, dreamt = _watched(world, place.space, seen, acts[: len(seen) - 1])
    return film(
        seen,
        rebuilt,
        dreamt,
        shape=place.image_shape,
        caption=f"The episode with seed {seed}, its beginning.",
    )


def _watched(
    world: ModelWorld, space: ActionSpace, seen: np.ndarray, acts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model makes of each picture, and what it imagines after a few of them."""
    import jax
    import jax.numpy as jnp

    from jensen.control.replay.data import entered

    rows = jnp.asarray(entered(space, acts))
    before = jnp.concatenate([jnp.zeros_like(rows[:1]), rows])

    def follow(belief: Any, given: Any) -> tuple[Any, Any]:
        observation, action, key = given
        belief = world.observe(belief, observation, action, key=key)
        return belief, (world.pictured(world.expected(belief)), world.expected(belief))

    def dream(state: Any, given: Any) -> tuple[Any, Any]:
        action, key = given
        state = world.step(state, action, key=key).state
        return state, world.pictured(state)

    @jax.jit
    def both(seen: Any, before: Any) -> tuple[Any, Any]:
        keys = jax.random.split(jax.random.key(0), len(before))
        _, (rebuilt, states) = jax.lax.scan(follow, world.begin(), (seen, before, keys))
        last = jax.tree.map(lambda leaf: leaf[BEFORE - 1], states)
        return rebuilt, jax.lax.scan(dream, last, (before[BEFORE:], keys[BEFORE:]))[1]

    rebuilt, dreamt = both(jnp.asarray(seen, jnp.float32), before)
    return np.asarray(rebuilt), np.asarray(dreamt)


def course(replay: Replay, rounds: Any) -> list[tuple[str, str]]:
    """Return what each round of collecting brought, as names and numbers."""
    rows = []
    for i, one in enumerate(rounds):
        name = f"round {i}" if i else "random episodes"
        rows.append((name, f"{len(one.returns)}, mean return {one.returns.mean():.4g}"))
    return [*rows, ("steps in the environment", f"{replay.steps:,}")]
