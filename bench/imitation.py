"""Behaviour cloning where demonstrations fork: success, ways taken, and how far their shares are off.

    python bench/imitation.py --tasks tree --seeds 10
    python bench/imitation.py --table          # the figures below, from what was kept

Each seed has 200 demonstrations of its own, its own fits and 100 episodes to act in, whose starts no
demonstration had. Networks have the defaults of ``control.imitate``, but for the particle, which has 2,000
demonstrations, hidden layers of 256 and 8,000 gradient steps; nothing is chosen by task or seed besides.
``cvae, z = 0`` is the policy of ``cvae, episode`` with its latent put to zero. ``nearest neighbour`` takes
the action of the nearest state met by demonstrators, ``mixture regression`` is the mean of a joint mixture
given the state, ``mixture sampled`` a draw from it (scikit-learn, 20 components, full). Tables give
interquartile means over seeds with stratified bootstrap intervals (Agarwal et al. 2021); KL is from the
demonstrations' shares to the policy's, half an episode added to each count; −log p is that of a tenth of the
demonstrations, held out, and of a cvae an upper bound.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from jensen import control, datasets, envs

DEMONSTRATIONS, EPISODES, COMPONENTS, CHUNK = 200, 100, 20, 8
LARGE = {"demonstrations": 2_000, "settings": {"widths": (256, 256), "steps": 8_000}}
TASKS: dict[str, dict[str, Any]] = {
    "tree": {"id": "jensen/Tree-v0"},
    "tree 20/80": {"id": "jensen/Tree-v0", "shares": (0.2, 0.8)},
    "three routes": {"id": "jensen/ThreeRoute-v0"},
    "particle": {"id": "jensen/Particle-v0", **LARGE},
    "particle 8-D": {"id": "jensen/Particle-v0", "make": {"num_dims": 8}, **LARGE},
}
FITTED: dict[str, dict[str, Any]] = {
    "mse": {"policy": "mse"},
    "gaussian": {"policy": "gaussian"},
    "mdn": {"policy": "mdn"},
    "cvae, step": {"policy": "cvae", "hold": "step"},
    "cvae, chunk": {"policy": "cvae", "hold": "chunk", "horizon": CHUNK},
    "cvae, episode": {"policy": "cvae", "hold": "episode"},
}
Act = Callable[[np.ndarray], np.ndarray]


def nearest(shown: datasets.Episodes) -> Act:
    """Return the policy that does what was done in the nearest state."""
    states, actions = shown.flat()
    scale = states.std(0)
    index = NearestNeighbors(n_neighbors=1).fit(states / scale)
    return lambda seen: actions[index.kneighbors(seen / scale, return_distance=False)[:, 0]]


def mixture(shown: datasets.Episodes, seed: int, *, draw: Callable[..., np.ndarray]) -> Act:
    """Return a policy by a mixture of states and actions, conditioned on the state."""
    states, actions = shown.flat()
    joint, width = np.concatenate([states, actions], 1), states.shape[1]
    centre, scale = joint.mean(0), joint.std(0)
    found = GaussianMixture(COMPONENTS, reg_covar=1e-5, random_state=seed).fit((joint - centre) / scale)
    marginal = found.covariances_[:, :width, :width]
    gain = np.linalg.solve(marginal, found.covariances_[:, :width, width:])
    left = found.covariances_[:, width:, width:] - np.einsum(
        "kia,kib->kab", found.covariances_[:, :width, width:], gain
    )
    _, log_det = np.linalg.slogdet(marginal)
    rng = np.random.default_rng(seed)

    def act(seen: np.ndarray) -> np.ndarray:
        off = ((seen - centre[:width]) / scale[:width])[:, None] - found.means_[:, :width]
        inner = np.einsum("nki,kij,nkj->nk", off, np.linalg.inv(marginal), off)
        log_w = np.log(found.weights_) - 0.5 * (inner + log_det)
        weights = np.exp(log_w - log_w.max(1, keepdims=True))
        means = found.means_[:, width:] + np.einsum("nki,kia->nka", off, gain)
        chosen = draw(rng, weights / weights.sum(1, keepdims=True), means, left)
        return centre[width:] + scale[width:] * chosen

    return act


def averaged(rng: np.random.Generator, weights: np.ndarray, means: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Return the mean of each row's mixture."""
    return np.einsum("nk,nka->na", weights, means)


def sampled(
    rng: np.random.Generator, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """Return a draw from each row's mixture."""
    which = (weights.cumsum(1) < rng.uniform(size=(len(weights), 1))).sum(1).clip(max=weights.shape[1] - 1)
    noise = rng.normal(size=means.shape[::2])
    return means[np.arange(len(means)), which] + np.einsum(
        "nab,nb->na", np.linalg.cholesky(covariances)[which], noise
    )


def clipped(act: Act, space: Any) -> Act:
    """Keep a policy within bounds."""
    return lambda seen: np.clip(act(seen), space.low, space.high).astype(space.dtype)


def policies(
    shown: datasets.Episodes, space: Any, seed: int, only: list[str] | None, **settings: Any
) -> Iterator[tuple[str, Any, Any, float]]:
    """Fit every policy; give its name, itself, its ``Imitation`` if it is one, and the seconds it took."""
    for number, (name, how) in enumerate(FITTED.items()):
        if only and name not in only:
            continue
        key = jax.random.fold_in(jax.random.key(seed), number)
        learnt = control.imitate(shown, key=key, space=space, **how, **settings)
        yield name, learnt.policy, learnt, learnt.seconds
        if name == "cvae, episode":
            zero = control.LatentPolicy(learnt.fitted, space, hold="episode", latent="zero", key=key)
            yield "cvae, z = 0", zero, None, learnt.seconds
    plain: dict[str, Callable[[], Act]] = {
        "nearest neighbour": lambda: nearest(shown),
        "mixture regression": lambda: mixture(shown, seed, draw=averaged),
        "mixture sampled": lambda: mixture(shown, seed, draw=sampled),
    }
    for name, make in plain.items():
        if not only or name in only:
            start = time.perf_counter()
            act = clipped(make(), space)
            yield name, act, None, time.perf_counter() - start


def run(task: str, seed: int, only: list[str] | None) -> Iterator[dict[str, Any]]:
    """Demonstrate, fit and act with one seed."""
    spec = TASKS[task]
    make = lambda: envs.make(spec["id"], **spec.get("make", {}))  # noqa: E731
    number = spec.get("demonstrations", DEMONSTRATIONS)
    shown = envs.demonstrate(make(), number, shares=spec.get("shares"), seed=100_000 + 1_000 * seed)
    space = make().action_space
    for name, policy, learnt, seconds in policies(shown, space, seed, only, **spec.get("settings", {})):
        found = control.evaluate(
            policy if learnt is None else learnt,
            make,
            EPISODES,
            seed=1_000 * seed,
            demonstrations=shown,
            held_out=None if learnt is None else learnt.held_out,
        )
        yield {"task": task, "policy": name, "seed": seed, "seconds": seconds} | facts(found)


def facts(found: control.Evaluation) -> dict[str, Any]:
    """Return what is kept of an evaluation."""
    forks = bool(found.reference)
    return {
        "success": None if found.success is None else found.success.value,
        "modes": found.modes,
        "demonstrated": found.reference,
        "entropy": found.entropy if forks else None,
        "kl": found.divergence,
        "nll": found.nll,
    }


def table(path: Path) -> str:
    """Return the newest figures of every task, policy and seed as markdown."""
    rows = {(r["task"], r["policy"], r["seed"]): r for r in map(json.loads, path.read_text().splitlines())}
    lines = [
        "| task | policy | seeds | success | entropy, nats | KL to shares | −log p per action | seconds |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for task, policy in dict.fromkeys((t, p) for t, p, _ in rows):
        those = [r for (t, p, _), r in rows.items() if (t, p) == (task, policy)]
        cells = [_cell([r[what] for r in those]) for what in ("success", "entropy", "kl", "nll")]
        seconds = f"{np.median([r['seconds'] for r in those]):.1f}"
        lines.append("| " + " | ".join([task, policy, str(len(those)), *cells, seconds]) + " |")
    return "\n".join(lines)


def _cell(values: list[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return ""
    found = control.bootstrap(known)
    return f"{found.value:.2f} [{found.lower:.2f}, {found.upper:.2f}]"


def main() -> None:
    """Run what is asked for and keep each line as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=list(TASKS))
    parser.add_argument("--only", nargs="+", help="policies; all by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench/results/imitation.jsonl"))
    options = parser.parse_args()
    if not options.table:
        for seed in range(options.first, options.first + options.seeds):
            for task in options.tasks:
                for line in run(task, seed, options.only):
                    print(json.dumps(line), flush=True)
                    with options.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")
            jax.clear_caches()  # data of other lengths compile anew, and memory maps are limited
    if options.out.exists():
        print(table(options.out))


if __name__ == "__main__":
    main()
