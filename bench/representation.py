"""What a learner should see: four true dimensions lifted to sixty-four, and seven ways back.

    PYTHONPATH=src python bench/representation.py --seeds 0 1 2 3 4 --out bench/results/representation.jsonl

CartPole's state passes a fixed random network, 4 → 64, and a little noise; with distractors, 16 independent
first-order processes that remember (ρ = 0.98) and vary more than the state does are turned together with it
by a random rotation, so that no column is free of them. Encoders are fitted to recorded episodes of random
linear controllers, codes are standardized, and Stable-Baselines3's PPO with its own settings learns from
50,000 steps of them. The probe is the R² of linear least squares from codes to the true state on held-out
episodes, averaged over its four numbers. Needs Stable-Baselines3, which is no dependency.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
import optax

import jensen as jn
from jensen import dist, families, fit, gradients, models, objectives, posteriors

LIFTED, SOURCES, NOISE, MEMORY = 64, 16, 0.02, 0.98
CODE, HIDDEN, WINDOW = 8, (64, 64), 30
SCALE = np.array([1.0, 1.0, 0.1, 1.0])
"""Of CartPole's state: metres, m/s, rad, rad/s as random controllers meet them."""
ENCODERS = ("state", "raw", "pca", "random", "autoencoder", "vae", "rssm")


class Lift(gymnasium.ObservationWrapper[np.ndarray, Any, np.ndarray]):
    """The state through a fixed random network, turned together with what has nothing to do with it."""

    def __init__(self, distractors: bool, seed: int = 0):
        super().__init__(gymnasium.make("CartPole-v1"))
        fixed = np.random.default_rng(seed)
        self.first, self.bias = fixed.normal(size=(4, 64)), fixed.normal(size=64)
        self.second = fixed.normal(size=(64, LIFTED)) / 8
        self.columns = LIFTED + (SOURCES if distractors else 0)
        self.turn = np.linalg.qr(fixed.normal(size=(self.columns, self.columns)))[0]
        self.sources = np.zeros(self.columns - LIFTED)
        self.random = np.random.default_rng(seed)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.columns,), np.float32)
        self.state = np.zeros(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin with distractors in their stationary law."""
        if seed is not None:
            self.random = np.random.default_rng([seed, 1])
        self.sources = self.random.normal(size=self.columns - LIFTED)
        return super().reset(seed=seed, options=options)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Lift one state."""
        self.state = np.asarray(observation, np.float64)
        rows = np.tanh(self.state / SCALE @ self.first + self.bias) @ self.second
        rows = rows + NOISE * self.random.normal(size=LIFTED)
        fresh = self.random.normal(size=self.sources.shape)
        self.sources = MEMORY * self.sources + np.sqrt(1 - MEMORY**2) * fresh
        return (np.concatenate([rows, 3.0 * self.sources]) @ self.turn).astype(np.float32)


class Recorded(NamedTuple):
    """Windows of episodes, zero after their end."""

    x: np.ndarray
    actions: np.ndarray
    states: np.ndarray
    lengths: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """Which steps there are, (N, T)."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]


def record(distractors: bool, steps: int, seed: int) -> Recorded:
    """Let random linear controllers act, and cut what happened into windows."""
    env, rng = Lift(distractors), np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"x": [], "actions": [], "states": []}
    lengths: list[int] = []
    while sum(lengths) < steps:
        weights, x = rng.normal(size=4), env.reset(seed=int(rng.integers(2**31)))[0]
        rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        while len(rows[0]) < 4 * WINDOW:
            wish = weights @ (env.state / SCALE) + rng.normal()
            action, state = int(wish > 0), env.state
            for kept, value in zip(rows, (x, np.eye(2)[action], state), strict=True):
                kept.append(value)
            x, _, over, cut, _ = env.step(action)
            if over or cut:
                break
        for first in range(0, len(rows[0]), WINDOW):
            lengths.append(len(rows[0][first : first + WINDOW]))
            for name, kept in zip(parts, rows, strict=True):
                whole = np.zeros((WINDOW, len(np.atleast_1d(kept[0]))), np.float32)
                whole[: lengths[-1]] = kept[first : first + WINDOW]
                parts[name].append(whole)
    return Recorded(**{k: np.stack(v) for k, v in parts.items()}, lengths=np.array(lengths))


def adam(steps: int) -> optax.GradientTransformation:
    """Return the optimizer of all encoders."""
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, min(100, steps // 5), steps)
    return optax.chain(optax.clip_by_global_norm(100.0), optax.adam(rate))


def autoencoder(data: Recorded, beta: float, steps: int, seed: int) -> jn.Inference:
    """Fit a decoder with Gaussian noise; β near 0 leaves an autoencoder."""
    to_model, to_q, to_fit = jax.random.split(jax.random.key(seed), 3)
    columns = data.x.shape[-1]
    model = models.Decoder(columns, CODE, likelihood="gaussian", widths=HIDDEN, key=to_model)
    q = posteriors.Amortized(families.DiagGaussian(CODE), data_dim=columns, widths=HIDDEN, key=to_q)
    return fit.gradient(
        jn.Inference(model, q, objectives.ELBO(beta=beta), gradients.Reparam()),
        data.x[data.real], key=to_fit, optimizer=adam(steps), steps=steps, batch_size=256,
    ).inference  # fmt: skip


def rssm(data: Recorded, steps: int, seed: int) -> jn.Inference:
    """Fit a recurrent state-space model."""
    to_model, to_q, to_fit = jax.random.split(jax.random.key(seed), 3)
    latent = families.DiagGaussian(CODE)
    model = models.RSSM(data.x.shape[-1], 2, deter_dim=64, latent=latent, decoder=HIDDEN, key=to_model)
    q = posteriors.Filtering(latent, like=model, widths=(64,), encoder=(64,), key=to_q)
    return fit.gradient(
        jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()),
        fit.Data(data.x, cond=data.actions[:, :-1], lengths=data.lengths),
        key=to_fit, optimizer=adam(steps), steps=steps, batch_size=32,
    ).inference  # fmt: skip


def filtered(inference: jn.Inference, data: Recorded) -> np.ndarray:
    """Return (h_t, E[z_t]) along recorded windows, (N, T, ·)."""

    def one(rows: tuple[Any, ...]) -> jax.Array:
        x, actions = rows
        q = inference.q(jn.Datum(x, actions[:-1]), key=jax.random.key(0))
        walk = dist.draw(q, key=jax.random.key(1)).carry
        return jax.numpy.concatenate([walk.carries, walk.laws.mean], -1)

    return np.asarray(jax.lax.map(one, (data.x, data.actions), batch_size=64))


def encoder(name: str, data: Recorded, steps: int, seed: int) -> tuple[Any, Callable[[Recorded], np.ndarray]]:
    """Return what a wrapper is given, and codes of recorded windows."""
    rows = data.x[data.real]
    if name in ("raw", "state"):
        return (lambda x: x), (lambda d: d.states if name == "state" else d.x)
    if name in ("pca", "random"):
        middle = rows.mean(0)
        drawn = np.random.default_rng(seed).normal(size=(rows.shape[1], CODE)) / np.sqrt(rows.shape[1])
        _, _, axes = np.linalg.svd(rows - middle, full_matrices=False)
        project = axes[:CODE].T if name == "pca" else drawn
        return (lambda x: (x - middle) @ project), lambda d: (d.x - middle) @ project
    if name == "rssm":
        fitted = rssm(data, steps, seed)
        return fitted, lambda d: filtered(fitted, d)
    fitted = autoencoder(data, 1.0 if name == "vae" else 1e-4, steps, seed)

    def means(d: Recorded) -> np.ndarray:
        one = lambda x: fitted.q(jn.Datum(x), key=jax.random.key(0)).mean  # noqa: E731
        flat = d.x.reshape(-1, d.x.shape[-1])
        return np.asarray(jax.lax.map(one, flat, batch_size=512)).reshape(*d.x.shape[:2], -1)

    return fitted, means


def probe(train: np.ndarray, known: np.ndarray, test: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return held-out R² of each number of the state under ridge-free least squares on codes."""
    a, b = (np.concatenate([c.astype(np.float64), np.ones((len(c), 1))], 1) for c in (train, test))
    weight = np.linalg.lstsq(a, known.astype(np.float64), rcond=1e-8)[0]
    return [float(v) for v in 1 - ((b @ weight - truth) ** 2).mean(0) / truth.var(0)]


class Standardized(gymnasium.ObservationWrapper[np.ndarray, Any, np.ndarray]):
    """Codes with mean zero and variance one on the recorded episodes."""

    def __init__(self, env: gymnasium.Env[Any, Any], mean: np.ndarray, scale: np.ndarray):
        super().__init__(env)
        self.mean, self.scale = mean, scale
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, mean.shape, np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Standardize."""
        return ((observation - self.mean) / self.scale).astype(np.float32)


def learned(
    name: str, source: Any, codes: np.ndarray, distractors: bool, steps: int, seed: int
) -> dict[str, list[float]]:
    """Let PPO learn from codes; return what it earned meanwhile, and in 20 episodes afterwards."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    from jensen.control.represent.wrappers import EncodedObservation

    torch.set_num_threads(1)

    def made() -> gymnasium.Env[Any, Any]:
        env = (
            gymnasium.make("CartPole-v1")
            if name == "state"
            else EncodedObservation(Lift(distractors), source)
        )
        return Monitor(Standardized(env, codes.mean(0), codes.std(0) + 1e-6))

    env: Any = made()
    agent = PPO("MlpPolicy", env, seed=seed, device="cpu", verbose=0)
    agent.learn(steps)
    test: Any = made()
    test.reset(seed=10_000 + seed)
    found = evaluate_policy(agent, test, 20, return_episode_rewards=True, warn=False)[0]
    final: list[Any] = list(np.asarray(found).reshape(-1))
    return {"training": [float(v) for v in env.get_episode_rewards()], "returns": [float(v) for v in final]}


def main() -> None:
    """Run what is not in the results yet; or put finished rows together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--record", type=int, default=20_000, help="steps that encoders are fitted to")
    parser.add_argument("--fit-steps", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=50_000, help="steps that PPO learns from")
    parser.add_argument("--only", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--out", type=Path, default=Path("bench/results/representation.jsonl"))
    options = parser.parse_args()
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    finished = {(r["seed"], r["distractors"], r["encoder"]) for r in done}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for distractors in (False, True):
            due = [name for name in options.only if (seed, distractors, name) not in finished]
            if not due:
                continue
            data = record(distractors, options.record, 2 * seed)
            held_out = record(distractors, options.record // 4, 2 * seed + 1)
            for name in due:
                began = time.perf_counter()
                source, codes_of = encoder(name, data, options.fit_steps, seed)
                codes, test = codes_of(data)[data.real], codes_of(held_out)[held_out.real]
                r2 = probe(codes, data.states[data.real], test, held_out.states[held_out.real])
                fitted = time.perf_counter() - began
                earned = learned(name, source, codes, distractors, options.steps, seed)
                row = {"seed": seed, "distractors": distractors, "encoder": name, "r2": r2, **earned}
                row |= {"fit_seconds": fitted, "seconds": time.perf_counter() - began}
                row["options"] = {"record": options.record, "fit": options.fit_steps, "steps": options.steps}
                print(row | {kind: np.mean(found) for kind, found in earned.items()}, flush=True)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
