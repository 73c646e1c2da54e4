"""Swing-up from pictures: a world model of random episodes, then a planner in its latent space.

    python bench/control_pendulum.py --seeds 0 1 2 --starts 100 --out bench/results/control_pendulum.jsonl
    python bench/control_pendulum.py --few --seeds 0 1 2 --starts 100 --out bench/results/control_few.jsonl

What is seen are single 32 × 32 pictures, which do not show the velocity. The model learns from 100 episodes
of 200 steps whose torques are drawn at random and held for 10 steps on average; with ``--few`` from 15 of
them and 5 rounds of 3 episodes that the planner itself plays. Then CEM (128 candidates, 4 iterations, horizon
25) plans at every step, and its returns are paired, start by start, with those of the same search in the true
dynamics from the true state, and of random torques. Optimism is the imagined return of a plan less what the
25 steps from there then earned, a mean over steps and starts. One line of JSON a seed, every return in it;
seeds already there are passed over.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from pendulum import faster_scales

import jensen as jn
from jensen import control, families, fit, gradients, models, objectives, posteriors
from jensen.control import CEM, ModelWorld, Rounds, SeenWorld, Training, UniformPolicy
from jensen.control.plan import FromMean, sequences_in
from jensen.control.plan.policy import Settings, begun, planned
from jensen.control.spaces import action_space
from jensen.datasets.pendulum import pendulum
from jensen.envs import PixelPendulum

STEPS, WINDOW = 200, 50
BLOCK = 25
"""Starts played at once; a line is printed after each block."""
SHORT = ("seed", "few", "gap", "gap_se", "gap_median", "mean", "true_mean", "learning_seconds", "rounds")
SEARCH = CEM(horizon=25, candidates=128, iterations=4)


def starts(number: int) -> np.ndarray:
    """Return the fixed starts, as Gymnasium draws them, (N, 2)."""
    return np.random.default_rng(12345).uniform((-np.pi, -1.0), (np.pi, 1.0), (number, 2))


def rewards(states: np.ndarray, torques: np.ndarray) -> np.ndarray:
    """Return Pendulum-v1's rewards of states (..., 2) under torques (...)."""
    angle = np.angle(np.exp(1j * states[..., 0]))
    return -(angle**2 + 0.1 * states[..., 1] ** 2 + 0.001 * torques**2)


def recorded(episodes: int, seed: int) -> fit.Data:
    """Simulate random episodes; the reward of a step stands beside the picture after it.

    The first picture, to which no reward belongs, is left out: an episode begins at the second.
    """
    data = pendulum(episodes, STEPS + 1, seed=seed)
    paid = rewards(data.states[:, :-1], data.actions[..., 0])
    x = np.concatenate([data.x[:, 1:], paid[..., None].astype(np.float32)], -1)
    return fit.Data(x, cond=data.actions[:, 1:])


def inference(options: argparse.Namespace) -> jn.Inference:
    """Return the four choices."""
    to_model, to_posterior = jax.random.split(jax.random.key(options.seed))
    family, width = families.DiagGaussian(options.latent), options.width
    world = models.RSSM(
        1024,
        1,
        deter_dim=options.deter,
        latent=family,
        decoder=(width, width),
        heads=(models.likelihoods.Gaussian(1),),
        key=to_model,
    )
    q = posteriors.Filtering(family, like=world, widths=(width,), encoder=(width, width), key=to_posterior)
    return jn.Inference(world, q, objectives.ELBO(beta=options.beta), gradients.Reparam())


def optimizer(options: argparse.Namespace, steps: int) -> optax.GradientTransformation:
    """Return Adam, warmed up and let fade; scales of noise move faster."""
    rate = optax.warmup_cosine_decay_schedule(0.0, options.learning_rate, min(100, steps // 2), steps)
    return optax.chain(optax.clip_by_global_norm(100.0), optax.adam(rate, eps=1e-5), faster_scales(3.0))


def train(options: argparse.Namespace, data: fit.Data, run: Any = None) -> fit.Fitted:
    """Fit the world model."""
    return fit.gradient(
        inference(options),
        data,
        key=jax.random.key(options.seed + 1),
        optimizer=optimizer(options, options.steps),
        steps=options.steps,
        batch_size=options.batch_size,
        batches=fit.Windows(WINDOW),
        run=run,
    )


def few(options: argparse.Namespace, run: fit.Run | None) -> control.Learned:
    """Learn from a few random episodes and rounds of the planner's own."""
    steps = options.steps // 2
    training = Training(optimizer(options, steps), steps=steps, batch_size=options.batch_size)
    return control.learn(
        "jensen/PixelPendulum-v0",
        inference(options),
        training=training,
        rounds=Rounds(first=options.first, further=options.rounds, episodes=3),
        first=UniformPolicy(PixelPendulum().action_space, repeat=10, seed=options.seed),
        search=SEARCH,
        run=run,
        key=jax.random.key(options.seed + 1),
    )


def itself(state: jax.Array) -> jax.Array:
    """Return the state, as what is seen and as what is read off it."""
    return state


@eqx.filter_jit
def _played(world: Any, see: Any, settings: Settings, begin: jax.Array, key: jax.Array) -> Any:
    truth = PixelPendulum()

    def step(at: Any, key: jax.Array) -> Any:
        states, courses = at
        courses, plans = planned(world, None, settings, courses, jax.vmap(see)(states))
        moved = jax.vmap(partial(truth.step, key=key))(states, courses.action)
        return (moved.state, courses), (moved.reward, plans.value)

    courses = begun(world, settings, key, len(begin))
    return jax.lax.scan(step, (begin, courses), jax.random.split(key, STEPS))[1]


def played(name: str, world: Any, see: Any, begin: np.ndarray) -> dict[str, Any]:
    """Plan from each start; return every return, optimism, and the clocks."""
    settings = Settings(SEARCH, sequences_in(action_space(PixelPendulum().action_space)), FromMean())
    began, parts = (time.perf_counter(), time.process_time()), []
    for first in range(0, len(begin), BLOCK):
        part = jnp.asarray(begin[first : first + BLOCK], jnp.float32)
        parts.append(_played(world, see, settings, part, jax.random.key(first)))
        print(f"  {name}: {first + len(part)} starts, {float(parts[-1][0].sum(0).mean()):.1f}", flush=True)
    paid, imagined = (np.concatenate([np.asarray(p[i]) for p in parts], 1) for i in (0, 1))
    ahead = np.lib.stride_tricks.sliding_window_view(paid, SEARCH.horizon, axis=0).sum(-1)
    return {
        "returns": paid.sum(0).round(2).tolist(),
        "optimism": float((imagined[: len(ahead)] - ahead).mean()),
        "seconds": time.perf_counter() - began[0],
        "cpu_seconds": time.process_time() - began[1],
    }


def random_returns(begin: np.ndarray, hold: int) -> list[float]:
    """Return the returns of uniform torques, each held for some steps."""
    from jensen.datasets.pendulum import move

    states, total = begin, np.zeros(len(begin))
    fresh = np.random.default_rng(0).uniform(-2, 2, (STEPS, len(begin)))
    for t in range(STEPS):
        torque = fresh[t - t % hold]
        total += rewards(states, torque)
        states = move(states, torque)
    return total.round(2).tolist()


def one_seed(options: argparse.Namespace, true: dict[str, Any]) -> dict[str, Any]:
    """Carry out the whole procedure once."""
    began, learned = (time.perf_counter(), time.process_time()), None
    run = None if options.run is None else fit.Run(options.run / f"{options.seed}", resume=True)
    if options.few:
        learned = few(options, run)
        fitted = learned.fitted
    else:
        fitted = train(options, recorded(options.episodes, 2 * options.seed), run)
    spent = time.perf_counter() - began[0], time.process_time() - began[1]
    begin = starts(options.starts)
    mine = played("model", ModelWorld(fitted, latent="mean"), PixelPendulum().observe, begin)
    gap = np.array(mine["returns"]) - np.array(true["returns"])
    return {
        "seed": options.seed,
        "few": options.few,
        "gap": float(gap.mean()),
        "gap_se": float(gap.std(ddof=1) / len(gap) ** 0.5),
        "gap_median": float(np.median(gap)),
        "mean": float(np.mean(mine["returns"])),
        "true_mean": float(np.mean(true["returns"])),
        "learning_seconds": spent[0],
        "learning_cpu_seconds": spent[1],
        "rounds": None if learned is None else [float(r.returns.mean()) for r in learned.rounds],
        "env_steps": options.episodes * STEPS if learned is None else learned.rounds[-1].steps,
        "model": mine,
        "true": true,
        "random": {str(hold): random_returns(begin, hold) for hold in (1, 10)},
        "options": {k: v for k, v in vars(options).items() if k not in ("run", "out", "seeds")},
    }


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--few", action="store_true", help="few random episodes, then rounds of 3")
    parser.add_argument("--first", type=int, default=15, help="random episodes of --few")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of --few")
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--beta", type=float, default=20.0)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--deter", type=int, default=128)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--run", type=Path, help="keep each seed's run there, and go on with it")
    parser.add_argument("--out", type=Path, default=Path("bench/results/control_pendulum.jsonl"))
    return parser.parse_args()


def main() -> None:
    """Do the seeds that are not there yet."""
    options = parsed()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    there = [json.loads(line) for line in lines]
    done = {(row["seed"], row["few"]) for row in there if len(row["true"]["returns"]) == options.starts}
    missing = [seed for seed in options.seeds if (seed, options.few) not in done]
    if not missing:
        return
    true = played("true", SeenWorld(PixelPendulum(), itself, 2), itself, starts(options.starts))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for options.seed in missing:
        row = one_seed(options, true)
        short = (
            "seed",
            "few",
            "gap",
            "gap_se",
            "gap_median",
            "mean",
            "true_mean",
            "learning_seconds",
            "rounds",
        )
        print(json.dumps({name: row[name] for name in short}), flush=True)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
