"""log p(x_{1:T}) of one sequence from both sides, by particle filters. Traced code."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import smc
from jensen.core import Datum
from jensen.diagnose.estimate import Effort
from jensen.diagnose.progress import Progress
from jensen.diagnose.rows import BLOCK, count, first, per_row
from jensen.objectives.stepwise import moves_of
from jensen.typing import Array, PRNGKey, PyTree

MEMORY = 2**25
"""Most numbers of z that one compiled call may keep."""


class Known(eqx.Module):
    """What is known of the path behind a sequence.

    Attributes:
        z: The path that generated the sequence; anything of that shape where it is not known.
        is_exact: Whether it is known.
    """

    z: PyTree
    is_exact: Any


class Sandwich(eqx.Module):
    """log p(x) from below and from above, for one sequence, in nats.

    Attributes:
        lower: E[exp(lower)] = p(x).
        upper: E[exp(−upper)] ≤ 1/p(x) if the path kept was an exact posterior draw.
        effective: Smallest effective sample size of any step.
    """

    lower: Array
    upper: Array
    effective: Array


def sandwich(model: Any, posterior: Any, datum: Datum, known: Known, num: int, *, key: PRNGKey) -> Sandwich:
    """Run a particle filter, and a conditional one along the path.

    The posterior proposes if it is drawn step by step, else the dynamics do.

    Args:
        model: The model as the draws see it, step by step.
        posterior: The posterior.
        datum: One sequence.
        known: The path that generated it, if it is known. Otherwise one that the first filter leaves takes
            its place, and the upper side is a heuristic.
        num: Particles.
        key: Fresh randomness for this sequence.
    """
    to_q, down, pick, up = jax.random.split(key, 4)
    moves = moves_of(model, posterior(model, datum, key=to_q), datum)
    low = smc.particle_filter(moves, len(datum.x), num, datum.steps, key=down)
    found = smc.sample_path(low, key=pick)
    path = jax.tree.map(lambda z, other: jnp.where(known.is_exact, z, other), known.z, found)
    high = smc.conditional_particle_filter(moves, path, num, datum.steps, key=up)
    return Sandwich(low.log_evidence, high.log_evidence, low.sizes.min())


@eqx.filter_jit
def sandwiches(model: Any, posterior: Any, num: int, rows: tuple[Datum, Known], keys: Any) -> Sandwich:
    """Bracket a block of sequences. Real and simulated ones share this one compiled function."""
    return jax.vmap(lambda row, key: sandwich(model, posterior, row[0], row[1], num, key=key))(rows, keys)


def bracketed(
    model: Any,
    posterior: Any,
    rows: Datum,
    paths: PyTree,
    effort: Effort,
    *,
    key: PRNGKey,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Bracket every row, in blocks that fit into memory.

    Args:
        model: The model as the draws see it.
        posterior: The posterior.
        rows: Stacked sequences.
        paths: The paths that generated them, stacked; ``None`` where they are not known.
        effort: The number of particles.
        key: Randomness; every row gets its own.
        progress: Told of every block.
    """
    example = first(rows)
    shape = jax.eval_shape(lambda: _left(model, posterior, example, effort.particles, key))
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shape)) * effort.particles
    n = count(rows)
    if paths is None:
        paths = jax.tree.map(lambda leaf: np.zeros((n, *leaf.shape), leaf.dtype), shape)
        known = Known(paths, np.zeros(n, bool))
    else:
        known = Known(jax.tree.map(np.asarray, paths), np.ones(n, bool))
    out = per_row(
        lambda rows, keys: sandwiches(model, posterior, effort.particles, rows, keys),
        (rows, known),
        key=key,
        progress=progress,
        label="particles",
        block=int(min(max(MEMORY // max(size, 1), 1), BLOCK)),
    )
    return {"lower": out.lower, "upper": out.upper, "effective": out.effective}


def _left(model: Any, posterior: Any, datum: Datum, num: int, key: PRNGKey) -> PyTree:
    """Return a path, for its shape."""
    moves = moves_of(model, posterior(model, datum, key=key), datum)
    return smc.sample_path(smc.particle_filter(moves, len(datum.x), num, datum.steps, key=key), key=key)
