"""A world model of a pendulum: what its state knows, and how far it sees without looking.

    python bench/pendulum.py --state gaussian --observations pixels --seed 0 --pictures runs/pendulum

Trained on 100 episodes of 200 steps, each picture showing where the rod is but not how fast it moves; scored
on 40 episodes held out. Filtered features (the deterministic core and the mean of z) are regressed linearly
on the true cos θ, sin θ, θ̇, beside those of the same networks untrained. Open loop, the state is filtered
over a context and then follows the torques alone; its errors are set against repeating the last picture and
against the mean picture. The angle of a predicted picture is that of the nearest drawn one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax

import jensen as jn
from jensen import dist, families, fit, gradients, models, objectives, posteriors, use
from jensen.datasets.pendulum import Pendulum, pendulum, render, vectors

EPISODES, HELD_OUT, STEPS = 100, 40, 200
WINDOW, STRIDE = 50, 25
HORIZON = 50
CHOSEN = {
    ("gaussian", "pixels"): {"beta": 20.0, "kl_balance": None, "scale_rate": 3.0, "steps": 2500},
    ("onehot", "pixels"): {"beta": 12.0, "kl_balance": 0.8, "scale_rate": 1.0, "steps": 3500},
    ("gaussian", "states"): {"beta": 1.0, "kl_balance": None, "scale_rate": 3.0, "steps": 2500},
    ("onehot", "states"): {"beta": 1.0, "kl_balance": 0.8, "scale_rate": 3.0, "steps": 2500},
}
"""Neighbouring pixels err together, which a likelihood of independent ones counts as evidence many times:
the KL weighs more under pixels, lest the state be all about the picture and the dynamics be left behind."""
LATENTS = {
    "gaussian": lambda: (families.DiagGaussian(16), gradients.Reparam()),
    "onehot": lambda: (families.OneHot(8, 16, unimix=0.01), gradients.StraightThrough()),
}


class Views(NamedTuple):
    """What the filter makes of episodes.

    Attributes:
        features: The core's state and the mean of z, (N, T, ·).
        pictures: Reconstructions, (N, T, D).
    """

    features: np.ndarray
    pictures: np.ndarray


def windows(data: Pendulum, length: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut episodes into overlapping windows: observations, the actions between them, states."""
    starts = range(0, data.x.shape[1] - length + 1, stride)

    def cut(a: np.ndarray, length: int) -> np.ndarray:
        return np.concatenate([a[:, s : s + length] for s in starts])

    return cut(data.x, length), cut(data.actions, length - 1), cut(data.states, length)


def inference(options: argparse.Namespace, columns: int) -> jn.Inference:
    """Return the four choices."""
    to_model, to_posterior = jax.random.split(jax.random.key(options.seed))
    family, gradient = LATENTS[options.state]()
    width = options.width
    world = models.RSSM(
        columns, 1, deter_dim=options.deter, latent=family, decoder=(width, width), key=to_model
    )
    q = posteriors.Filtering(family, like=world, widths=(width,), encoder=(width, width), key=to_posterior)
    objective = objectives.ELBO(beta=options.beta, free_bits=options.free_bits, kl_balance=options.kl_balance)
    return jn.Inference(world, q, objective, gradient)


@eqx.filter_jit
def _filtered(inference: jn.Inference, x: jax.Array, actions: jax.Array, key: jax.Array) -> Any:
    def one(x: jax.Array, actions: jax.Array, key: jax.Array) -> Any:
        model = inference.bound_model()
        q = inference.posterior(model, jn.Datum(x, actions), key=key)
        drawn = dist.draw(q, key=key)
        laws = jax.vmap(model.observation_from)(drawn.z, drawn.carry.carries)
        return jax.numpy.concatenate([drawn.carry.carries, drawn.carry.laws.mean], -1), laws.mean

    return jax.vmap(one)(x, actions, jax.random.split(key, len(x)))


def filtered(inference: jn.Inference, data: Pendulum) -> Views:
    """Filter episodes, a few at a time."""
    parts = [
        _filtered(inference, data.x[i : i + 20], data.actions[i : i + 20], jax.random.key(i))
        for i in range(0, len(data.x), 20)
    ]
    return Views(*(np.concatenate([np.asarray(p) for p in each]) for each in zip(*parts, strict=True)))


def probe(train: Views, train_states: np.ndarray, test: Views, test_states: np.ndarray) -> list[float]:
    """Return held-out R² of cos θ, sin θ, θ̇ under a linear map fitted by least squares."""

    def design(views: Views) -> np.ndarray:
        flat = views.features.reshape(-1, views.features.shape[-1]).astype(np.float64)
        return np.concatenate([flat, np.ones((len(flat), 1))], 1)

    truth, known = (vectors(s).reshape(-1, 3) for s in (test_states, train_states))
    a = design(train)
    weight = np.linalg.solve(a.T @ a + 1e-4 * np.eye(a.shape[1]), a.T @ known)
    miss = ((design(test) @ weight - truth) ** 2).mean(0)
    return [float(v) for v in 1 - miss / truth.var(0)]


def angles(x: np.ndarray) -> np.ndarray:
    """Return the angle an observation shows: of a picture, that of the nearest drawn one."""
    if x.shape[-1] == 3:
        return np.arctan2(x[..., 1], x[..., 0])
    grid = np.linspace(-np.pi, np.pi, 1440, endpoint=False)
    drawn = render(grid)
    score = x.reshape(-1, x.shape[-1]) @ drawn.T - 0.5 * (drawn**2).sum(1)
    return grid[score.argmax(1)].reshape(x.shape[:-1])


def open_loop(fitted: jn.Inference, data: Pendulum, mean: np.ndarray, options: argparse.Namespace) -> dict:
    """Roll out after a context; errors by horizon (1 … 50 steps), and some predictions to look at."""
    x, actions, states = windows(data, options.context + HORIZON, HORIZON)
    seen, truth = x[:, : options.context], x[:, options.context :]
    ahead = use.rollout(
        fitted, seen, actions, horizon=HORIZON, key=jax.random.key(9), num_samples=options.draws
    )
    guesses = {"model": ahead.mean, "copy": seen[:, -1:], "mean": mean}
    scale = mean_scale(data)
    error = {name: (((g - truth) / scale) ** 2).mean((0, 2)) for name, g in guesses.items()}
    off = np.abs(np.angle(np.exp(1j * (angles(ahead.mean) - states[:, options.context :, 0]))))
    return {"error": error, "angle": np.median(off, 0), "predicted": ahead.mean, "seen": seen, "truth": truth}


def mean_scale(data: Pendulum) -> np.ndarray:
    """Return what errors are divided by: 1 for pixels, each column's spread for vectors."""
    return np.ones(1) if data.image_shape else data.x.std((0, 1))


def figures(loop: dict) -> dict[str, Any]:
    """Boil the open loop down to the figures that are reported."""
    error = {name: float(e.mean()) for name, e in loop["error"].items()}
    return {
        "open_loop_mse": error["model"],
        "of_copy_last": error["model"] / error["copy"],
        "of_mean": error["model"] / error["mean"],
        "median_angle_error": {str(h): float(loop["angle"][h - 1]) for h in (1, 5, 10, 20, 30, 40, 50)},
    }


def pictures(folder: Path, loop: dict, rebuilt: np.ndarray, data: Pendulum, context: int) -> None:
    """Write the film strip and the errors by horizon."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    if data.image_shape:
        times = [*range(0, context, max(1, context // 4)), *range(context, context + HORIZON, 4)]
        shown = range(3)
        fig, axes = plt.subplots(3 * len(shown), len(times), figsize=(0.62 * len(times), 6.2))
        for row in shown:
            whole = np.concatenate([loop["seen"][row], loop["truth"][row]])
            blank = np.full_like(loop["seen"][row], np.nan)
            strips = (whole, rebuilt[row], np.concatenate([blank, loop["predicted"][row]]))
            for kind, strip in enumerate(strips):
                for column, t in enumerate(times):
                    ax = axes[3 * row + kind, column]
                    ax.imshow(strip[t].reshape(data.image_shape), cmap="gray", vmin=0, vmax=1)
                    ax.set(xticks=[], yticks=[])
                    if row == kind == 0:
                        ax.set_title(f"{t + 1 - context:+d}", fontsize=7)
                axes[3 * row + kind, 0].set_ylabel(("truth", "rebuilt", "open loop")[kind], fontsize=6)
        fig.tight_layout(pad=0.3)
        fig.savefig(folder / "strip.png", dpi=110)
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    steps = np.arange(1, HORIZON + 1)
    for name, error in loop["error"].items():
        left.plot(steps, np.broadcast_to(error, steps.shape), label=name)
    left.set(xlabel="steps ahead", ylabel="mean squared error", ylim=(0, None))
    left.legend()
    right.plot(steps, loop["angle"])
    right.axhline(0.05, color="gray", lw=0.5)
    right.set(xlabel="steps ahead", ylabel="median angle error, rad", yscale="log")
    fig.tight_layout()
    fig.savefig(folder / "horizon.png", dpi=110)


def faster_scales(by: float) -> optax.GradientTransformation:
    """Let the decoder's scales move faster: from one column's spread to a hundredth is 4.6 in their log."""

    def scaled(path: Any, update: jax.Array) -> jax.Array:
        return by * update if "log_scale" in jax.tree_util.keystr(path) else update

    return optax.stateless(lambda updates, params: jax.tree_util.tree_map_with_path(scaled, updates))


def train(
    options: argparse.Namespace, data: Pendulum
) -> tuple[jn.Inference, fit.Fitted, tuple[float, float]]:
    """Return the untrained inference, the fit, and its seconds by the clock and of the processors."""
    x, actions, _ = windows(data, WINDOW, STRIDE)
    start = inference(options, x.shape[-1])
    rate = optax.warmup_cosine_decay_schedule(0.0, options.learning_rate, 100, options.steps)
    began = time.perf_counter(), time.process_time()
    fitted = fit.gradient(
        start,
        fit.Data(x, cond=actions),
        key=jax.random.key(options.seed + 1),
        optimizer=optax.chain(
            optax.clip_by_global_norm(options.clip),
            optax.adam(rate, eps=1e-5),
            faster_scales(options.scale_rate),
        ),
        steps=options.steps,
        batch_size=options.batch_size,
    )
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    untrained = start.initialize_from(fit.Data(x[:100], cond=actions[:100]).rows(), key=jax.random.key(0))
    return untrained, fitted, seconds


def main() -> None:
    """Train, score, print, draw, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", default="gaussian", choices=tuple(LATENTS))
    parser.add_argument("--observations", default="pixels", choices=("pixels", "states"))
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument(
        "--scale-rate", type=float, help="learning rate of the decoder's scales over the others'"
    )
    parser.add_argument("--clip", type=float, default=100.0)
    parser.add_argument("--beta", type=float, help="weight of the KL in the loss")
    parser.add_argument("--free-bits", type=float, default=0.0)
    parser.add_argument("--kl-balance", type=float)
    parser.add_argument("--deter", type=int, default=128)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--context", type=int, default=50)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", default="bench/results/pendulum.jsonl")
    options = parser.parse_args()
    for name, value in CHOSEN[options.state, options.observations].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    seen = {"observations": options.observations, "noise": options.noise}
    data = pendulum(EPISODES, STEPS, seed=2 * options.seed, **seen)
    held_out = pendulum(HELD_OUT, STEPS, seed=2 * options.seed + 1, **seen)
    untrained, fitted, seconds = train(options, data)
    after, before = fitted.inference, untrained
    rebuilt = filtered(after, held_out)
    loop = open_loop(after, held_out, data.x.mean((0, 1)), options)
    result = {
        "r2": probe(filtered(after, data), data.states, rebuilt, held_out.states),
        "r2_untrained": probe(
            filtered(before, data), data.states, filtered(before, held_out), held_out.states
        ),
        **figures(loop),
        "reconstruction_mse": float((((rebuilt.pictures - held_out.x) / mean_scale(data)) ** 2).mean()),
        "scale": [
            float(v) for v in np.quantile(np.asarray(after.model.likelihood_family.scale), [0.1, 0.5, 0.9])
        ],
        "bound": float(fitted.history.bound[-50:].mean()),
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "options": {k: v for k, v in vars(options).items() if k not in ("pictures", "out")},
    }
    print(json.dumps(result, indent=1))
    with Path(options.out).open("a") as file:
        file.write(json.dumps(result) + "\n")
    if options.pictures:
        pictures(options.pictures, loop, rebuilt.pictures, held_out, options.context)


if __name__ == "__main__":
    main()
