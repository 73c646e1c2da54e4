"""The best member of a family for one datum: what an inference network is compared with."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from jensen.core import AbstractGradient, Datum, Inference
from jensen.dist import AbstractEnumerable, Reparameterized, scored_in_one_pass
from jensen.errors import JensenWarning
from jensen.families import AbstractFamily
from jensen.gradients import Enumerate, LeaveOneOut, Reparam, ScoreFunction, StickTheLanding
from jensen.gradients.enumerate import MAX_VALUES
from jensen.objectives import ELBO
from jensen.posteriors import Global
from jensen.typing import Array, Float, PRNGKey


class Climb(eqx.Module):
    """Where one climb of the bound ended, and whether it had arrived.

    Attributes:
        params: The family's parameters.
        gain: Mean bound over the third quarter of the steps less that over the second, in nats; the rate is
            the same in both, so that no gain means no way left to go.
        gain_se: Its standard error.
    """

    params: Float[Array, "*s p"]
    gain: Float[Array, "*s"]
    gain_se: Float[Array, "*s"]


def optimal_parameters(
    model: Any,
    family: AbstractFamily,
    datum: Datum,
    start: Float[Array, "p"],
    *,
    key: PRNGKey,
    steps: int = 1000,
    num_samples: int = 8,
    learning_rate: float = 0.05,
) -> Climb:
    """Climb E_q[log p(x, z) − log q(z)] in the family's parameters, for one datum (`jax.vmap` outside).

    Adam at one rate, which decays to zero along a cosine in the last quarter. The gradient is exact where z
    has few values, goes through the sample without the score where the law allows (noise-free at q = p), and
    is the score function's, leave-one-out, elsewhere.

    Args:
        model: The model as the draws see it.
        family: Which laws q may be.
        datum: One datum.
        start: Parameters to start from.
        key: Randomness.
        steps: Gradient steps, at least 8.
        num_samples: Draws per step, at least 2.
        learning_rate: Adam's first rate.

    Returns:
        The last parameters, and the gain before the rate decayed, which is noise once the climb has arrived.
    """
    posterior = eqx.tree_at(lambda q: q.params, Global(family, key=key), start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JensenWarning)  # a user's own model was vouched for before
        inference = Inference(model, posterior, ELBO(num_samples, kl="sampled"), _gradient_for(family))
    quarter = steps // 4
    constant, decay = (
        optax.constant_schedule(learning_rate),
        optax.cosine_decay_schedule(learning_rate, quarter),
    )
    optimizer = optax.adam(optax.join_schedules([constant, decay], [steps - quarter]))

    def loss(params: Array, key: Array) -> tuple[Array, Array]:
        at = eqx.tree_at(lambda i: i.posterior.params, inference, params)
        out = at.gradient(at, datum, key=key, step=jnp.zeros((), jnp.int32), num_data=1, state=None)
        return out.surrogate, out.value

    def step(carry: tuple[Array, Any], key: Array) -> tuple[tuple[Array, Any], Array]:
        params, state = carry
        grad, value = jax.grad(loss, has_aux=True)(params, key)
        # a step out of the finite is not taken: it would be one datum's alone
        grad = jnp.where(jnp.isfinite(grad).all(), grad, 0.0)
        update, state = optimizer.update(grad, state, params)
        moved: Any = optax.apply_updates(params, update)
        return (moved, state), value

    (params, _), values = jax.lax.scan(step, (start, optimizer.init(start)), jax.random.split(key, steps))
    steady = values[-3 * quarter : -quarter]
    # noise from successive differences: a trend within a quarter must not pass for noise
    noise = (jnp.diff(steady) ** 2).mean() / 2
    gain_se = jnp.sqrt(2 * noise / quarter)
    return Climb(params, steady[quarter:].mean() - steady[:quarter].mean(), gain_se)


def _gradient_for(family: AbstractFamily) -> AbstractGradient:
    law = family(family.initial_params())
    if isinstance(law, AbstractEnumerable):
        if law.support_size <= MAX_VALUES:
            return Enumerate()
    elif issubclass(family.law, Reparameterized):
        return StickTheLanding() if scored_in_one_pass(law) else Reparam()
    return ScoreFunction(LeaveOneOut())
