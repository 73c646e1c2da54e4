"""What is believed of every step's latents, and of the observation they make. Traced code, one sequence."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.algorithms import smc
from jensen.core import Datum, HasRecurrence, Inference
from jensen.dist import AbstractEnumerable, AbstractMoments, MarkovPath, Walk, draw, unroll
from jensen.dist.path_gaussian import GaussianPath
from jensen.models.sequence import HMM, LinearGaussianSSM
from jensen.objectives.stepwise import moves_of
from jensen.posteriors import Filtering
from jensen.typing import Array, Float, Int, PRNGKey, PyTree


class Belief(eqx.Module):
    """Moments of one sequence's latents and signal, leading axis T.

    Attributes:
        mean: E[z_t], states counted as one-hot vectors.
        std: Their standard deviations; ``None`` for discrete z.
        path: The most probable path, −1 at padded steps; ``None`` where it is not known.
        signal: E of E[x_t | z_t].
        signal_std: Standard deviation of E[x_t | z_t].
    """

    mean: Float[Array, "t d"]
    std: Float[Array, "t d"] | None
    path: Int[Array, "t"] | None
    signal: Float[Array, "t *x"]
    signal_std: Float[Array, "t *x"]


def filtered(inference: Inference, datum: Datum, key: PRNGKey, num_samples: int) -> Belief:
    """Return what is believed of z_t given x_{1:t}."""
    model = inference.model
    if isinstance(model, HMM):
        return _mixed(model, datum, jnp.exp(model.filtered(datum).log_marginals))
    if isinstance(model, LinearGaussianSSM):
        got = model.filtered(datum)
        return _gaussian(model, datum, got.mean, got.covariance)
    if has_particles(inference):
        return _particles(inference.bound_model(), datum, key, num_samples)
    return inferred(inference, datum, key, num_samples)


def has_particles(inference: Inference) -> bool:
    """Whether ``filtered`` needs a particle filter."""
    exact = isinstance(inference.model, HMM | LinearGaussianSSM)
    return not exact and not isinstance(inference.posterior, Filtering)


def width(model: Any) -> int:
    """Return about how many numbers one particle holds."""
    return model.carry_dim + model.latent_dim if isinstance(model, HasRecurrence) else 8


def inferred(inference: Inference, datum: Datum, key: PRNGKey, num_samples: int) -> Belief:
    """Return what the posterior says of z_t, whatever it looks at."""
    model, (to_q, to_draws) = inference.bound_model(), jax.random.split(key)
    q = inference.posterior(model, datum, key=to_q)
    if isinstance(q, MarkovPath):
        return _mixed(model, datum, q.marginals, q.mode)
    if isinstance(q, GaussianPath):
        smoothed = q.smoothed
        return _gaussian(model, datum, smoothed.mean, smoothed.covariance)
    return _drawn(model, q, datum, to_draws, num_samples)


def _mixed(model: Any, datum: Datum, probs: Float[Array, "t k"], path: Any = None) -> Belief:
    """Mix the means of finitely many states."""
    states, times = jnp.arange(probs.shape[1]), jnp.arange(len(probs))
    law = lambda t: jax.vmap(lambda k: model.observation_at(k, t, datum).mean)(states)  # noqa: E731
    means = jax.vmap(law)(times)
    signal = jnp.einsum("tk,tk...->t...", probs, means)
    spread = jnp.einsum("tk,tk...->t...", probs, (means - signal[:, None]) ** 2)
    return Belief(probs, None, path, signal, jnp.sqrt(spread))


def _gaussian(model: Any, datum: Datum, mean: Float[Array, "t n"], cov: Float[Array, "t n n"]) -> Belief:
    """Push a Gaussian through an emission whose mean is linear in z."""

    def emitted(z: Array, t: Array) -> Array:
        return model.observation_at(z, t, datum).mean

    times = jnp.arange(len(mean))
    signal, slope = jax.vmap(emitted)(mean, times), jax.vmap(jax.jacfwd(emitted))(mean, times)
    variance = jnp.einsum("tdi,tij,tdj->td", slope, cov, slope)
    std = jnp.sqrt(jnp.diagonal(cov, axis1=1, axis2=2))
    return Belief(mean, std, None, signal, jnp.sqrt(jnp.maximum(variance, 0.0)))


class _Running(eqx.Module):
    """Mean and summed squared distance from it, one draw after another (Welford 1962)."""

    mean: Array
    square: Array

    def add(self, value: Array, count: Array) -> _Running:
        away = value - self.mean
        mean = self.mean + away / count
        return _Running(mean, self.square + away * (value - mean))


def _drawn(model: Any, q: Any, datum: Datum, key: PRNGKey, num: int) -> Belief:
    """Average over paths drawn from q; where its steps have moments, over these."""

    def once(key: PRNGKey) -> tuple[Array, Array, Array]:
        drawn = draw(q, key=key)
        mean, variance = drawn.z, jnp.zeros_like(drawn.z)
        if isinstance(drawn.carry, Walk) and isinstance(drawn.carry.laws, AbstractMoments):
            mean, variance = jax.vmap(lambda law: (law.mean, law.variance))(drawn.carry.laws)
        return mean, variance, _signal(model, drawn, datum)

    def step(state: tuple, at: tuple) -> tuple[tuple, None]:
        (latent, inside, seen), (key, count) = state, at
        mean, variance, signal = once(key)
        return (latent.add(mean, count), inside + variance, seen.add(signal, count)), None

    mean, variance, signal = (jnp.zeros(leaf.shape, leaf.dtype) for leaf in jax.eval_shape(once, key))
    start = _Running(mean, mean), variance, _Running(signal, signal)
    each = jax.random.split(key, num), 1.0 + jnp.arange(num)
    (latent, inside, seen), _ = jax.lax.scan(step, start, each)
    std = jnp.sqrt((latent.square + inside) / num)
    return Belief(
        latent.mean, None if _is_discrete(model) else std, None, seen.mean, jnp.sqrt(seen.square / num)
    )


def _signal(model: Any, drawn: Any, datum: Datum) -> Array:
    """Return E[x_t | z_t] along a path."""
    if isinstance(model, HasRecurrence):
        walked = isinstance(drawn.carry, Walk)
        carries = (
            drawn.carry.carries if walked else unroll(model, model.inputs(datum.cond, len(datum.x)), drawn.z)
        )
        return jax.vmap(model.observation_from)(drawn.z, carries).mean
    times = jnp.arange(len(datum.x))
    return jax.vmap(lambda z, t: model.observation_at(z, t, datum).mean)(drawn.z, times)


def _is_discrete(model: Any) -> bool:
    return isinstance(model, HasRecurrence) and issubclass(model.step_law, AbstractEnumerable)


def _particles(model: Any, datum: Datum, key: PRNGKey, num: int) -> Belief:
    """Run a bootstrap filter that resamples at every step, so that each step's weights are its own.

    The dynamics propose, not q: a posterior that smooths is narrower than what is sought, and the weights of
    a narrow proposal are unbounded.
    """
    moves = moves_of(model, None, datum)

    def propose(before: Any, t: Array, *, key: PRNGKey) -> smc.Moved:
        moved = moves.propose(before, t, key=key)
        return moved._replace(detail=(moved.log_weight, moved.particle[0]))

    left = smc.particle_filter(
        moves._replace(propose=propose), len(datum.x), num, datum.steps, resample_below=1.0, key=key
    )
    log_w, carries = left.detail

    def one(at: tuple[Array, Array, PyTree, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        t, z, carry, log_w = at
        if isinstance(model, HasRecurrence):
            means = jax.vmap(model.observation_from)(z, carry).mean
        else:
            means = jax.vmap(lambda z: model.observation_at(z, t, datum).mean)(z)
        weight = jax.nn.softmax(log_w)
        return _weighted(weight, z), _weighted(weight, means)

    (mean, std), (signal, spread) = jax.lax.map(one, (jnp.arange(len(datum.x)), left.z, carries, log_w))
    return Belief(mean, None if _is_discrete(model) else std, None, signal, spread)


def _weighted(weight: Float[Array, "k"], values: Float[Array, "k *d"]) -> tuple[Array, Array]:
    mean = jnp.tensordot(weight, values, 1)
    return mean, jnp.sqrt(jnp.tensordot(weight, (values - mean) ** 2, 1))
