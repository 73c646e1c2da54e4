"""Embed to Control in the obstacle plane: from a picture to a picture, beside latents without dynamics.

    python bench/e2c_planar.py --seed 0 --out bench/results/e2c_planar.jsonl --pictures runs/e2c_planar

The plane is ``jensen/Planar-v0``, seen in black and white. Each contestant is given two pictures, of where it
is and of where to go, and plans in its own state by the same regulator (``algorithms.ilqr``, replanned every
step) with a quadratic cost there:

- ``e2c``: ``models.EmbedToControl`` fitted to short walks, under ``OpenLoop`` and then under ``Filtering``;
- ``vae``: the same encoder and decoder fitted to the same pictures without dynamics, and afterwards the same
  network of dynamics fitted to its codes by least squares;
- ``state``: the true position under the true dynamics, for what the regulator itself can do.

Starts and goals are drawn for each seed and shared by the contestants; some goals lie behind an obstacle,
which a quadratic cost does not see. An episode succeeds where the disc ends within two pixels of the goal.
``--report`` puts the seeds together.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.algorithms.ilqr import Problem, ilqr
from jensen.control import bootstrap, interquartile_mean, wilson
from jensen.control.worlds.goals import encoded
from jensen.envs import planar
from jensen.models.sequence.transitions import LocallyLinear
from jensen.posteriors.open_loop import OpenLoop

SIZE = planar.SIDE
LATENT, HIDDEN, WIDTHS = 4, (150, 150), (100, 100)
HORIZON, STEPS, NEAR = 10, 40, planar.REACHED
BOUNDS = (-jnp.ones(2), jnp.ones(2))


def render(position: jax.Array) -> jax.Array:
    """Draw the plane in black and white: (1600,) of 0 and 1."""
    return (planar.drawn(position) > 0.5).astype(jnp.float32)


def move(position: jax.Array, action: jax.Array) -> jax.Array:
    """Take a step of the environment, of an action from −1 to 1 each way."""
    return planar.advanced(position, planar.STEP * jnp.clip(action, -1.0, 1.0))


def places(number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw free positions uniformly."""
    edge = planar.AGENT_RADIUS
    drawn = rng.uniform(edge, SIZE - edge, (4 * number, 2)).astype(np.float32)
    return drawn[np.asarray(jax.vmap(planar.free)(drawn))][:number]


def walks(number: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, pictures and actions of walks from anywhere, each with a bent for a direction."""
    bent, noise = rng.uniform(-1, 1, (number, 1, 2)), rng.uniform(-1, 1, (number, length - 1, 2))
    actions = np.clip(bent + 0.7 * noise, -1, 1).astype(np.float32)

    def walk(start: jax.Array, actions: jax.Array) -> jax.Array:
        along = jax.lax.scan(lambda p, a: (move(p, a),) * 2, start, actions)[1]
        return jnp.concatenate([start[None], along])

    paths = jax.jit(jax.vmap(walk))(places(number, rng), actions)
    return np.asarray(paths), np.asarray(jax.jit(jax.vmap(jax.vmap(render)))(paths)), actions


def e2c(x: np.ndarray, actions: np.ndarray, options: argparse.Namespace) -> tuple[Any, Any]:
    """Fit Embed to Control; return its encoder of pictures and its dynamics."""
    to_model, to_q, to_fit = jax.random.split(jax.random.key(options.seed), 3)
    model = models.EmbedToControl(
        SIZE**2, 2, LATENT, likelihood="bernoulli", decoder=HIDDEN, widths=WIDTHS, key=to_model
    )
    q = posteriors.Filtering(
        families.DiagGaussian(LATENT), like=model, memory=0, encoder=HIDDEN, widths=(64,), key=to_q
    )
    data = fit.Data(x, cond=actions)

    def fitted(model: Any, q: Any, steps: int, key: Any) -> Any:
        found = fit.gradient(
            jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()),
            data,
            key=key,
            optimizer=_adam(steps),
            steps=steps,
            batch_size=32,
        )
        print(f"e2c: bound {found.history.bound[-50:].mean():.1f} nats a walk", flush=True)
        return found.inference

    # foreseeing whole walks unfolds the codes; then what is seen has to lie where it was foreseen
    unfolded = fitted(model, OpenLoop(q), options.steps - options.steps // 3, to_fit)
    mine = fitted(unfolded.model, unfolded.posterior.base, options.steps // 3, jax.random.fold_in(to_fit, 1))
    net = mine.model.transition_net
    return (lambda picture: encoded(mine, picture)), lambda z, a: net(jnp.concatenate([z, a]))[:LATENT]


def vae(x: np.ndarray, actions: np.ndarray, options: argparse.Namespace) -> tuple[Any, Any]:
    """Fit a VAE to single pictures, then dynamics to its codes; return encoder and dynamics."""
    to_model, to_q, to_fit, to_net = jax.random.split(jax.random.key(options.seed), 4)
    model = models.Decoder(SIZE**2, LATENT, likelihood="bernoulli", widths=HIDDEN, key=to_model)
    q = posteriors.Amortized(families.DiagGaussian(LATENT), data_dim=SIZE**2, widths=(*HIDDEN, 64), key=to_q)
    pictures = x.reshape(-1, SIZE**2)
    fitted = fit.gradient(
        jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()),
        fit.Data(pictures),
        key=to_fit,
        optimizer=_adam(options.steps),
        steps=options.steps,
        batch_size=32 * x.shape[1],
    )
    print(f"vae: bound {fitted.history.bound[-50:].mean():.1f} nats a picture", flush=True)
    mine = fitted.inference

    def encode(picture: jax.Array) -> jax.Array:
        return mine.q(jn.Datum(picture), key=jax.random.key(0)).mean

    codes = np.asarray(jax.lax.map(encode, jnp.asarray(pictures), batch_size=500)).reshape(
        *x.shape[:2], LATENT
    )
    net = _regressed(LocallyLinear(LATENT, 2, WIDTHS, key=to_net), codes, actions, options)
    return encode, lambda z, a: net(jnp.concatenate([z, a]))[:LATENT]


def _regressed(net: Any, codes: np.ndarray, actions: np.ndarray, options: argparse.Namespace) -> Any:
    """Fit dynamics to pairs of codes."""
    known = jnp.asarray(np.concatenate([codes[:, :-1], actions], -1).reshape(-1, LATENT + 2))
    wanted = jnp.asarray(codes[:, 1:].reshape(-1, LATENT))
    adam = _adam(options.steps)

    def loss(net: Any, rows: jax.Array) -> jax.Array:
        return ((jax.vmap(net)(known[rows])[:, :LATENT] - wanted[rows]) ** 2).mean()

    @eqx.filter_jit
    def train(net: Any, key: jax.Array) -> Any:
        params, static = eqx.partition(net, eqx.is_inexact_array)

        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            params, state = carry
            rows = jax.random.randint(key, (256,), 0, len(known))
            value, slope = jax.value_and_grad(lambda p: loss(eqx.combine(p, static), rows))(params)
            updates, state = adam.update(slope, state)
            return (optax.apply_updates(params, updates), state), value

        keys = jax.random.split(key, options.steps)
        (params, _), values = jax.lax.scan(step, (params, adam.init(params)), keys)
        return eqx.combine(params, static), values[-100:].mean()

    net, error = train(net, jax.random.key(options.seed))
    print(f"vae: dynamics off by {float(error):.2g}, of a variance of {float(wanted.var()):.2g}", flush=True)
    return net


def _adam(steps: int) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(100, steps // 5), steps)
    return optax.chain(optax.clip_by_global_norm(100.0), optax.adam(rate))


def walked(encode: Any, dynamics: Any, starts: np.ndarray, goals: np.ndarray, iterations: int) -> np.ndarray:
    """Replan at every step from the picture of where the disc is; return the paths, (N, STEPS + 1, 2)."""
    see = (lambda p: p) if encode is None else (lambda p: encode(render(p)))

    def episode(start: jax.Array, goal: jax.Array) -> jax.Array:
        there = see(goal)
        # distances in units of the way to go, so that one weight of effort suits every state
        scale = 1.0 / (jnp.sum((see(start) - there) ** 2) + 1e-6)
        problem = Problem(
            dynamics,
            lambda z, a: scale * jnp.sum((z - there) ** 2) + 1e-3 * jnp.sum(a**2),
            lambda z: 10.0 * scale * jnp.sum((z - there) ** 2),
            BOUNDS,
        )

        def step(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[Any, jax.Array]:
            position, plan = carry
            actions = ilqr(problem, see(position), plan, iterations=iterations).actions
            position = move(position, actions[0])
            return (position, jnp.concatenate([actions[1:], jnp.zeros((1, 2))])), position

        _, path = jax.lax.scan(step, (start, jnp.zeros((HORIZON, 2))), None, length=STEPS)
        return jnp.concatenate([start[None], path])

    # a few episodes at a time: the searches of all go on until the last has ended
    return np.asarray(
        jax.jit(lambda s, g: jax.lax.map(lambda sg: episode(*sg), (s, g), batch_size=10))(starts, goals)
    )


def scored(paths: np.ndarray, goals: np.ndarray) -> dict[str, list[float]]:
    """Return for every episode its last distance and its cost Σ|p − goal|², in pixels."""
    away = np.linalg.norm(paths - goals[:, None], axis=-1)
    return {"distance": away[:, -1].tolist(), "cost": (away[:, 1:] ** 2).sum(1).tolist()}


def crossing(starts: np.ndarray, goals: np.ndarray) -> list[bool]:
    """Say which straight lines from start to goal touch an obstacle."""
    share = np.linspace(0, 1, 200, dtype=np.float32)[:, None, None]
    line = jnp.asarray((1 - share) * starts + share * goals)
    return [bool(v) for v in ~np.asarray(jax.vmap(jax.vmap(planar.free))(line)).all(0)]


def picture(
    folder: Path, seed: int, encoders: dict[str, Any], paths: dict[str, np.ndarray], goals: np.ndarray
) -> None:
    """Draw each latent space in its two main directions, coloured by the true position, and some paths."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    grid = np.stack(np.meshgrid(np.arange(3, 38, 0.75), np.arange(3, 38, 0.75)), -1).reshape(-1, 2)
    grid = grid[np.asarray(jax.vmap(planar.free)(grid.astype(np.float32)))].astype(np.float32)
    fig, axes = plt.subplots(len(encoders), 3, figsize=(10, 3.2 * len(encoders)), squeeze=False)
    for row, (name, encode) in enumerate(encoders.items()):
        z = np.asarray(jax.lax.map(lambda p, e=encode: e(render(p)), jnp.asarray(grid), batch_size=200))
        z = (z - z.mean(0)) @ np.linalg.svd(z - z.mean(0), full_matrices=False)[2][:2].T
        for column, title in enumerate(("x", "y")):
            ax = axes[row, column]
            shown = ax.scatter(*z.T, c=grid[:, column], s=5, cmap="viridis")
            ax.set_title(f"{name}: z coloured by {title}", fontsize=9)
            fig.colorbar(shown, ax=ax)
        ax = axes[row, 2]
        for centre in planar.OBSTACLES:
            ax.add_patch(plt.Circle(centre, planar.OBSTACLE_RADIUS, color="0.7"))
        for path, goal in list(zip(paths[name], goals, strict=True))[:12]:
            (line,) = ax.plot(*path.T, lw=1)
            ax.plot(*goal, "x", color=line.get_color(), ms=5)
        ax.set(xlim=(0, SIZE), ylim=(SIZE, 0), aspect="equal")
        ax.set_title(f"{name}: ways to the goal (×)", fontsize=9)
    fig.tight_layout()
    fig.savefig(folder / f"planes-{seed}.png", dpi=110)


def table(lines: list[dict[str, Any]]) -> str:
    """Put the seeds together: success with Wilson's interval, costs with a bootstrap over seeds."""
    rows = [
        "| plans in | success | where the way is free | where it is not | final distance, pixels | cost |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("e2c", "vae", "state"):
        near = np.stack([np.asarray(r["contestants"][name]["distance"]) < NEAR for r in lines])
        blocked = np.stack([np.asarray(r["blocked"]) for r in lines])
        shares = [_share(near), _share(near[~blocked]), _share(near[blocked])]
        parts = []
        for what, digits in (("distance", 2), ("cost", 0)):
            every = np.stack([r["contestants"][name][what] for r in lines])
            found = bootstrap(list(every), interquartile_mean)
            parts.append(f"{found.value:.{digits}f} [{found.lower:.{digits}f}, {found.upper:.{digits}f}]")
        rows.append("| " + " | ".join([f"`{name}`", *shares, *parts]) + " |")
    return "\n".join(rows)


def _share(hits: np.ndarray) -> str:
    if not hits.size:
        return "none"
    found = wilson(int(hits.sum()), hits.size)
    return f"{100 * found.value:.1f}% [{100 * found.lower:.1f}, {100 * found.upper:.1f}] of {hits.size}"


def main() -> None:
    """Fit, walk, score; or put finished seeds together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--walks", type=int, default=2000)
    parser.add_argument("--length", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=10, help="backward passes a step")
    parser.add_argument("--only", nargs="+", default=["e2c", "vae", "state"])
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench/results/e2c_planar.jsonl"))
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.report:
        return print(table(done))
    if any(line["seed"] == options.seed for line in done):
        return print(f"seed {options.seed} is in {options.out} already")
    rng = np.random.default_rng(options.seed)
    _, x, actions = walks(options.walks, options.length, rng)
    starts, goals = places(options.episodes, rng), places(options.episodes, rng)
    result: dict[str, Any] = {"seed": options.seed, "blocked": crossing(starts, goals), "contestants": {}}
    encoders, paths = {}, {}
    for name in options.only:
        began = time.perf_counter()
        if name == "state":
            encode, dynamics = None, move
        else:
            encode, dynamics = {"e2c": e2c, "vae": vae}[name](x, actions, options)
            encoders[name] = encode
        fitted = time.perf_counter() - began
        paths[name] = walked(encode, dynamics, starts, goals, options.iterations)
        score = scored(paths[name], goals)
        seconds = {"fit_seconds": fitted, "walk_seconds": time.perf_counter() - began - fitted}
        result["contestants"][name] = score | seconds
        share = np.mean(np.asarray(score["distance"]) < NEAR)
        away = np.median(score["distance"])
        print(
            f"{name}: {100 * share:.0f}% within {NEAR:g} pixels, median {away:.2f} away, {seconds}",
            flush=True,
        )
    result["options"] = {k: v for k, v in vars(options).items() if k not in ("pictures", "out", "report")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        file.write(json.dumps(result) + "\n")
    if options.pictures and encoders:
        picture(options.pictures, options.seed, encoders, paths, goals)


if __name__ == "__main__":
    main()
