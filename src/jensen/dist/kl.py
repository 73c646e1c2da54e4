"""Closed-form KL(q ‖ p), looked up by the pair of types; ``None`` where there is no closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jensen.algorithms.linalg import solve_lower
from jensen.dist.discrete import Bernoulli, Categorical, OneHot, OneHotThrough, times_log
from jensen.dist.gaussian import AbstractGaussian, DiagGaussian, LowRankGaussian
from jensen.dist.protocol import AbstractDistribution, Empty
from jensen.dist.stopped import StoppedSample
from jensen.typing import Array, Float, Scalar

_Rule = Callable[[Any, Any, Any], Array]
_RULES: dict[tuple[type, type], _Rule] = {}


def register_kl(q_type: type, p_type: type) -> Callable[[_Rule], _Rule]:
    """Register ``rule(q, p, z)`` for a pair of types and their subclasses.

    z is the sample from q: a layered law's inner divergences are conditional on it, simple laws ignore it.
    """

    def register(rule: _Rule) -> _Rule:
        _RULES[q_type, p_type] = rule
        return rule

    return register


def has_kl(q_type: type, p_type: type) -> bool:
    """Say whether KL(q ‖ p) has a closed form for this pair of types."""
    return _find(q_type, p_type) is not None


def kl_divergence(q: AbstractDistribution, p: AbstractDistribution, z: Any) -> Float[Array, "groups"] | None:
    """Return KL(q ‖ p) per latent group in nats, or ``None`` where no closed form is registered.

    Args:
        q: The law sampled from; a ``StoppedSample`` counts as the law it wraps.
        p: The other law.
        z: A sample of q, on which layered laws condition.

    Example:
        >>> import jax.numpy as jnp
        >>> q = DiagGaussian(jnp.ones(2), jnp.ones(2))
        >>> p = DiagGaussian(jnp.zeros(2), jnp.ones(2))
        >>> kl_divergence(q, p, None).tolist()
        [1.0]
    """
    if isinstance(q, StoppedSample):
        q = q.base
    rule = _find(type(q), type(p))
    return None if rule is None else jnp.atleast_1d(rule(q, p, z))


def _find(q_type: type, p_type: type) -> _Rule | None:
    for q_base in q_type.__mro__:
        for p_base in p_type.__mro__:
            if (q_base, p_base) in _RULES:
                return _RULES[q_base, p_base]
    return None


def kl_per_dimension(q: DiagGaussian, p: DiagGaussian) -> Float[Array, "d"]:
    """Return log(σₚ/σ_q) + (σ_q² + (μ_q − μₚ)²)/(2σₚ²) − ½ for each dimension, in nats."""
    ratio = (q.scale / p.scale) ** 2
    shift = ((q.loc - p.loc) / p.scale) ** 2
    return 0.5 * (ratio + shift - 1 - jnp.log(ratio))


@register_kl(DiagGaussian, DiagGaussian)
def _diagonal(q: DiagGaussian, p: DiagGaussian, z: Any) -> Scalar:
    return kl_per_dimension(q, p).sum()


@register_kl(LowRankGaussian, DiagGaussian)
def _low_rank(q: LowRankGaussian, p: DiagGaussian, z: Any) -> Scalar:
    inside = (q.variance + (q.loc - p.loc) ** 2) / p.scale**2
    return 0.5 * (inside - 1).sum() + jnp.log(p.scale).sum() - q.log_det_scale


@register_kl(AbstractGaussian, AbstractGaussian)
def _gaussian(q: AbstractGaussian, p: AbstractGaussian, z: Any) -> Scalar:
    lq, lp = q.scale_tril, p.scale_tril
    inside = solve_lower(lp, jnp.column_stack([lq, q.mean - p.mean]))
    log_ratio = jnp.log(jnp.diagonal(lp)).sum() - jnp.log(jnp.abs(jnp.diagonal(lq))).sum()
    return 0.5 * ((inside**2).sum() - lq.shape[-1]) + log_ratio


@register_kl(Categorical, Categorical)
def _categorical(q: Categorical, p: Categorical, z: Any) -> Scalar:
    return _discrete(jax.nn.log_softmax(q.logits), jax.nn.log_softmax(p.logits)).sum(-1)


@register_kl(OneHotThrough, OneHot)
@register_kl(OneHot, OneHot)
def _one_hot(q: OneHot | OneHotThrough, p: OneHot, z: Any) -> Float[Array, "v"]:
    return _discrete(jax.nn.log_softmax(q.logits), jax.nn.log_softmax(p.logits)).sum(-1)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(q: Bernoulli, p: Bernoulli, z: Any) -> Scalar:
    one = _discrete(jax.nn.log_sigmoid(q.logits), jax.nn.log_sigmoid(p.logits))
    zero = _discrete(jax.nn.log_sigmoid(-q.logits), jax.nn.log_sigmoid(-p.logits))
    return (one + zero).sum()


@register_kl(Empty, AbstractDistribution)
def _empty(q: Empty, p: AbstractDistribution, z: Any) -> Scalar:
    return jnp.zeros(())


def _discrete(log_q: Array, log_p: Array) -> Array:
    """Return q (log q − log p) for each value; one that q rules out costs nothing, whatever p says."""
    probability = jnp.exp(log_q)
    return times_log(probability, log_q) - times_log(probability, log_p)
