"""What one datum's log p(x) is known to be: its exact value, or estimates from both sides. Traced code."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from jensen.algorithms.ais import Kernels, ais_forward, ais_reverse, schedule
from jensen.algorithms.hmc import Path
from jensen.algorithms.pilot import equal_length, tune
from jensen.algorithms.weights import log_mean_exp
from jensen.core import (
    AbstractCarryModel,
    AbstractLatentModel,
    Datum,
    HasExactEvidence,
    HasExactPosterior,
    independent_draws,
)
from jensen.diagnose.estimate import Effort
from jensen.diagnose.rows import first
from jensen.dist import (
    AbstractAugmented,
    AbstractDensity,
    AbstractDistribution,
    AbstractEnumerable,
    Empty,
    Factors,
    draw,
)
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, PRNGKey

Method = Literal["exact", "enumerate", "particle", "ais", "importance"]
MAX_VALUES = 4096
"""Most values of z that are summed over."""


def methods_for(model: Any, posterior: Any, datum: Datum, *, key: PRNGKey) -> tuple[Method, ...]:
    """Return the ways to log p(x) that apply, the best first, from one datum: all rows are alike."""
    q = posterior(model, datum, key=key)
    law = _law_of_z(model, q, datum)
    closed = isinstance(model, HasExactEvidence | HasExactPosterior)
    few = isinstance(law, AbstractEnumerable) and law.support_size <= MAX_VALUES
    ways: tuple[tuple[Method, bool], ...] = (
        ("exact", closed),
        ("enumerate", few),
        ("particle", is_stepwise(model)),
        ("ais", _is_smooth(started(q), key)),
        ("importance", not isinstance(q, Empty)),
    )
    return tuple(name for name, applies in ways if applies)


def _law_of_z(model: Any, q: Any, datum: Datum) -> Any:
    """Return a law with the support of z: the prior where it does not need a path to be written down."""
    alone = isinstance(model, AbstractLatentModel) and not isinstance(model, AbstractCarryModel)
    return model.prior_of(datum.cond) if alone else q


def started(q: AbstractDistribution) -> AbstractDistribution:
    """Return a law to anneal from: of one with auxiliary noise, the density it starts from."""
    return q.start if isinstance(q, AbstractAugmented) else q


def _is_smooth(q: AbstractDistribution, key: PRNGKey) -> bool:
    leaves = jax.tree.leaves(draw(q, key=key).z)
    real = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves) and len(leaves) > 0
    # factors lie on simplices and cones, which a Hamiltonian path would leave
    return real and isinstance(q, AbstractDensity) and not isinstance(q, AbstractEnumerable | Factors)


def exact(model: Any, datum: Datum, *, key: PRNGKey) -> Array:
    """Return log p(x) in closed form: the model's own, or by Bayes' rule from its exact posterior."""
    if isinstance(model, HasExactEvidence):
        return model.log_evidence(datum)
    z, log_q = model.posterior(datum).sample_and_log_prob(key=key)
    return model.log_joint(z, datum) - log_q.sum()


def enumerated(model: Any, q: Any, datum: Datum) -> Array:
    """Return log Σ_z p(x, z)."""
    law: Any = _law_of_z(model, q, datum)
    return logsumexp(jax.vmap(lambda z: model.log_joint(z, datum))(law.support()))


def log_weights(model: Any, q: Any, datum: Datum, num: int, *, key: PRNGKey) -> Array:
    """Return log p(x, z) − log q(z) at ``num`` independent draws (rounded up), at most 250 in memory."""
    return weighed(model, q, datum, num, key=key)[0]


def weighed(model: Any, q: Any, datum: Datum, num: int, *, key: PRNGKey) -> tuple[Array, Array]:
    """Return ``log_weights`` and the log p(x, z) they come from, which says how finely they are rounded."""
    chunks = -(-num // 250)
    size = -(-num // chunks)

    def chunk(key: Array) -> tuple[Array, Array]:
        terms = independent_draws(model, q, datum, size, key=key)
        return terms.log_w, terms.log_joint

    log_w, log_joint = jax.lax.map(chunk, jax.random.split(key, chunks))
    return log_w.reshape(-1), log_joint.reshape(-1)


def path_between(model: Any, q: Any, datum: Datum, *, key: PRNGKey) -> Path:
    """Return the annealing path from q to p(x, ·), over z written as one real vector."""
    q = started(q)
    _, unflatten = ravel_pytree(draw(q, key=key).z)
    return Path(
        sample_q=lambda key: ravel_pytree(draw(q, key=key).z)[0],
        log_q=lambda z: q.log_prob(unflatten(z)).sum(),
        log_joint=lambda z: model.log_joint(unflatten(z), datum),
    )


def frozen_kernels(path: Path, effort: Effort, *, key: PRNGKey) -> Kernels:
    """Tune on a short pilot schedule and stretch what it learned to the full number of temperatures."""
    pilot = schedule(effort.pilot)
    tuned = tune(path, pilot, num_leapfrog=effort.leapfrog, key=key)
    seen = tuned.kernels
    betas = equal_length(pilot, tuned.spread, effort.temperatures)
    steps = jnp.exp(jnp.interp(betas[1:-1], seen.betas[1:-1], jnp.log(seen.step_sizes)))
    return seen._replace(betas=betas, step_sizes=steps)


class Given(eqx.Module):
    """What is known of the latents behind a datum.

    Attributes:
        z: An exact draw of the posterior as one real vector; anything of that shape where there is none.
        is_exact: Whether it is one.
    """

    z: Any
    is_exact: Any

    @classmethod
    def nothing(cls, model: Any, posterior: Any, rows: Datum, *, key: PRNGKey) -> Given:
        """Return the stand-in for real rows."""
        example = first(rows)
        flat, _ = ravel_pytree(draw(posterior(model, example, key=key), key=key).z)
        return cls(np.zeros((len(rows.x), flat.size), flat.dtype), np.zeros(len(rows.x), bool))

    @classmethod
    def exactly(cls, latents: Any) -> Given:
        """Return stacked latents, known because the data was simulated from them."""
        flat = np.asarray(jax.vmap(lambda z: ravel_pytree(z)[0])(latents))
        return cls(flat, np.ones(len(flat), bool))


class Sandwich(eqx.Module):
    """log p(x) from below and from above, for one datum, in nats.

    Attributes:
        lower: E[exp(lower)] = p(x).
        upper: E[exp(−upper)] = 1/p(x) if the backward chain began at an exact posterior draw.
        spread: Standard deviation of the chains' log-weights.
        acceptance: Mean acceptance of the forward chains.
    """

    lower: Array
    upper: Array
    spread: Array
    acceptance: Array


def sandwich(
    model: Any, posterior: Any, datum: Datum, given: Given, effort: Effort, *, key: PRNGKey
) -> Sandwich:
    """Anneal between q and the posterior, forward and backward, with kernels frozen after a pilot run.

    The pilot sees neither the exact draw nor the weighted run's noise. The upper side reuses all forward
    chains but one (see ``algorithms.ais.upper``: one backward chain among K suffices), which costs a single
    chain more.

    Args:
        model: The model as the draws see it.
        posterior: The posterior.
        datum: One datum.
        given: The z that generated the datum, if it is known. Otherwise the end of a forward chain, picked by
            its weight, takes its place and the upper side is a heuristic.
        effort: Temperatures, chains and leapfrog steps.
        key: Fresh randomness for this datum.
    """
    to_q, shape, pilot, down, pick, up = jax.random.split(key, 6)
    q = posterior(model, datum, key=to_q)
    path = path_between(model, q, datum, key=shape)
    kernels = frozen_kernels(path, effort, key=pilot)

    def forward(key: Array) -> Any:
        return ais_forward(path, kernels, num_leapfrog=effort.leapfrog, key=key)

    runs = jax.vmap(forward)(jax.random.split(down, effort.chains))
    picked = jax.random.categorical(pick, runs.log_weight)
    start = jnp.where(given.is_exact, given.z, runs.z[picked])
    back = ais_reverse(path, kernels, start, num_leapfrog=effort.leapfrog, key=up)
    # an exact draw must not choose which chain it replaces
    both = runs.log_weight.at[jnp.where(given.is_exact, 0, picked)].set(back.log_weight)
    return Sandwich(
        log_mean_exp(runs.log_weight), log_mean_exp(both), runs.log_weight.std(), runs.acceptance.mean()
    )


@eqx.filter_jit
def sandwiches(model: Any, posterior: Any, effort: Effort, rows: tuple[Datum, Given], keys: Any) -> Sandwich:
    """Bracket a block of rows. Real and simulated rows share this one compiled function."""
    return jax.vmap(lambda row, key: sandwich(model, posterior, row[0], row[1], effort, key=key))(rows, keys)
