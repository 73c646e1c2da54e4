"""An inference network whose answer is improved for each datum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import (
    AbstractCarryModel,
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    IndexesData,
    Refines,
    SharesLatent,
    Verdict,
    independent_draws,
)
from jensen.dist import AbstractDistribution, AbstractEnumerable, Reparameterized, stop
from jensen.errors import InputError, at_least, positive
from jensen.posteriors.starts import StartsItsBase
from jensen.typing import Array, Float, PRNGKey, Scalar

MAX_VALUES = 4096
"""Most values of z that a step sums over."""

_MEAN, _SQUARE = 0.9, 0.99
_SMALLEST = 1e-2
"""Slopes below this, in nats per unit of a parameter, are not blown up to full steps."""


class SemiAmortized(Refines, StartsItsBase):
    r"""λ₀ = net(x), then some steps of Adam up ∇_λ L(λ; x); q(z | x) = family(λ).

    The network finds the neighbourhood, the steps undo its amortization gap. Each step climbs the plain bound
    on one fresh draw (on its exact value where z has few values), so q is random: its noise comes with the
    datum's key. A step costs about as much as a training step of one datum.

    Args:
        q: The posterior to improve: ``Amortized``, ``Pooled`` or another with a family and a network.
        steps: Number of gradient steps.
        step_size: How far each parameter moves in a step, about. Plain gradients would want another step for
            every scale of the posterior; Adam's are the same length on all.
        through: Whether training differentiates through the steps (exact, at the cost of second derivatives);
            otherwise the network is trained as if what the steps add were a constant (biased, cheap).

    Raises:
        InputError: If q has no network, or the steps are not positive.

    References:
        Kim et al. 2018, Semi-amortized variational autoencoders; Marino, Yue & Mandt 2018.

    Example:
        >>> import jax
        >>> from jensen import families, posteriors
        >>> family = families.DiagGaussian(2)
        >>> q = posteriors.Amortized(family, data_dim=5, widths=(16,), key=jax.random.key(0))
        >>> posteriors.SemiAmortized(q, steps=5).family.num_params
        4
    """

    base: Any
    steps: int
    step_size: float
    through: bool

    def __init__(self, q: HasFamily, steps: int = 20, step_size: float = 1e-2, through: bool = False):
        if not isinstance(q, HasFamily) or isinstance(q, IndexesData | SharesLatent | Refines):
            raise InputError(
                f"SemiAmortized: {type(q).__name__} is no network that could be improved upon; use "
                "posteriors.Amortized"
            )
        at_least("SemiAmortized", 1, steps=steps)
        positive("SemiAmortized", step_size=step_size)
        self.base = q
        self.steps = steps
        self.step_size = step_size
        self.through = through

    @property
    def family(self) -> Any:
        """The network's family."""
        return self.base.family

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Return what the network says, before any step."""
        return self.base.parameters(datum)

    def refine(self, model: Any, datum: Datum, *, key: PRNGKey) -> Float[Array, "p"]:
        """Return the parameters after the steps."""
        first = self.base.parameters(datum)
        if self.through:
            return self._climb(self.family, model, datum, first, key=key)
        end = self._climb(stop(self.family), stop(model), datum, stop(first), key=key)
        return first + stop(end - first)

    def _climb(
        self, family: Any, model: Any, datum: Datum, start: Float[Array, "p"], *, key: PRNGKey
    ) -> Float[Array, "p"]:
        def bound(params: Array, key: PRNGKey) -> Scalar:
            return _bound(family(params), model, datum, key=key)

        def step(carry: tuple[Array, Array, Array], at: Any) -> tuple[tuple[Array, Array, Array], None]:
            (params, mean, square), (key, count) = carry, at
            slope = jax.grad(bound)(params, key)
            # a datum whose density is not finite somewhere keeps the network's answer
            slope = jnp.where(jnp.isfinite(slope).all(), slope, 0.0)
            mean = _MEAN * mean + (1 - _MEAN) * slope
            square = _SQUARE * square + (1 - _SQUARE) * slope**2
            size = jnp.sqrt(square / (1 - _SQUARE**count) + _SMALLEST**2)
            moved = params + self.step_size * mean / (1 - _MEAN**count) / size
            return (moved, mean, square), None

        nothing = jnp.zeros_like(start)
        along = jax.random.split(key, self.steps), 1.0 + jnp.arange(self.steps)
        return jax.lax.scan(step, (start, nothing, nothing), along)[0][0]

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the improved law."""
        return self.family(self.refine(model, datum, key=key))

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.base.law(model)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse what the network refuses, and laws with no gradient of the bound; else biased or not."""
        verdict = self.base.rule(inference)
        if verdict.kind == "refused":
            return verdict
        law, model = self.base.law(inference.model), inference.model
        if isinstance(model, AbstractCarryModel):
            name = type(model).__name__
            return Verdict(
                "refused", f"SemiAmortized: {name} has latents over time; use posteriors.Smoothing"
            )
        many = issubclass(law, AbstractEnumerable) and _size(self.family) > MAX_VALUES
        if many or not issubclass(law, Reparameterized | AbstractEnumerable):
            return Verdict(
                "refused",
                f"SemiAmortized: {law.__name__} is neither reparameterizable nor of at most {MAX_VALUES} "
                "values; use posteriors.Amortized",
            )
        if self.through:
            return verdict
        return Verdict("biased", "SemiAmortized(through=False) holds what its steps add constant in training")


def _size(family: Any) -> int:
    return family(family.initial_params()).support_size


def _bound(q: Any, model: Any, datum: Datum, *, key: PRNGKey) -> Scalar:
    """Return the plain bound: a sum over z where z has values, else one draw with the closed-form KL."""
    if isinstance(q, AbstractEnumerable):
        values = q.support()
        log_q = jax.vmap(lambda z: q.log_prob(z).sum())(values)
        log_p = jax.vmap(lambda z: model.log_joint(z, datum))(values)
        return jnp.sum(jnp.exp(log_q) * (log_p - log_q))
    terms = independent_draws(model, q, datum, 1, key=key)
    kl = terms.log_ratio if terms.kl is None else terms.kl
    return (terms.reconstruction - kl.sum(-1)).mean()
