"""A KL whose gradient is shared out between its two laws."""

from __future__ import annotations

from typing import Any

from jensen.dist.kl import kl_divergence
from jensen.dist.path import StepwisePrior
from jensen.dist.protocol import AbstractCarrying, AbstractDistribution
from jensen.dist.stopped import StoppedSample, stop
from jensen.typing import Array, Float


def balanced_kl(
    q: AbstractDistribution, p: AbstractDistribution, z: Any, share: float
) -> Float[Array, "groups"] | None:
    """Return α·KL(stop(q) ‖ p) + (1 − α)·KL(q ‖ stop(p)) per latent group: KL(q ‖ p), its gradient split.

    It is the laws that are held constant, not the networks behind them: whatever both are made of, a
    recurrent state above all, is trained from both sides.

    Args:
        q: The law sampled from.
        p: The other law.
        z: A sample of q, on which layered laws condition; the gradient passes through it on both sides.
        share: α, the part of the gradient that moves p towards q.

    Returns:
        The divergences in nats; ``None`` where there is no closed form, or the prior holds laws of q that
        are not known from outside.

    References:
        Hafner et al. 2021.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jensen.dist import DiagGaussian
        >>> law = lambda mean: DiagGaussian(jnp.array([mean]), jnp.ones(1))
        >>> kl = lambda a, b: balanced_kl(law(a), law(b), None, 0.75)[0]
        >>> value, gradients = jax.value_and_grad(kl, (0, 1))(2.0, 0.0)
        >>> float(value), [float(g) for g in gradients]
        (2.0, [0.5, -1.5])
    """
    q = q.base if isinstance(q, StoppedSample) else q
    if isinstance(p, StepwisePrior):  # its laws of q are those of the draw
        to_p = StepwisePrior(p.laws, stop(p.drawn_from), p.real)
        to_q = StepwisePrior(stop(p.laws), p.drawn_from, p.real)
        pairs = (q, to_p), (q, to_q)
    elif isinstance(q, AbstractCarrying):
        return None
    else:
        pairs = (stop(q), p), (q, stop(p))
    moving_p, moving_q = (kl_divergence(*pair, z) for pair in pairs)
    return None if moving_p is None or moving_q is None else share * moving_p + (1 - share) * moving_q
