"""Posteriors that look at the beginning and then follow the dynamics."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import AbstractInference, AbstractPosterior, Datum, Verdict, inputs_of, state_before
from jensen.dist import AbstractDensity, AbstractRecurrence, Reparameterized, ReparameterizedPath, real_steps
from jensen.errors import at_least, check_made
from jensen.families import AbstractFamily
from jensen.posteriors.starts import StartsItsBase
from jensen.posteriors.stepwise import AbstractStepwise
from jensen.typing import Array, Float, PRNGKey, PyTree


class OpenLoop(AbstractPosterior, StartsItsBase):
    r"""q(z | x) = ∏_{t ≤ context} q(z_t | carry_t, x) ∏_{t > context} p(z_t | carry_t): look, then foresee.

    A posterior like any other, so its ELBO is a bound: log p(x_t | z_t) of steps after the context is that
    of a prediction, and their KL is zero. Fitted with it, dynamics have to predict many steps ahead, where
    under ``Filtering`` they may leave to the next observation what they do not know; with ``context=1`` and
    two steps this is the bound of Embed to Control. The network that looks is ``base``, and it is what to
    use afterwards.

    Args:
        base: A ``Filtering`` or ``Smoothing`` posterior, of the family that the model's steps are of.
        context: Number of leading steps at which observations are looked at.

    Raises:
        InputError: If ``context`` is less than 1.

    References:
        Watter et al. 2015, equation 12; Karl et al. 2017 (on why the dynamics should be in q).

    Example:
        >>> import jax, jensen as jn
        >>> e2c = jn.models.EmbedToControl(3, 1, 2, key=jax.random.key(0))
        >>> look = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=e2c, memory=0, widths=(8,), key=jax.random.key(1))
        >>> jn.Inference(e2c, OpenLoop(look), jn.objectives.ELBO(), jn.gradients.Reparam()).check().kind
        'unbiased'
    """

    base: AbstractStepwise
    context: int

    def __init__(self, base: AbstractStepwise, context: int = 1):
        check_made("OpenLoop", "base", base, AbstractStepwise, "posteriors.Filtering(..., like=model)")
        at_least("OpenLoop", 1, context=context)
        self.base, self.context = base, context

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> ReparameterizedPath:
        """Build the law of the path."""
        prepared = jax.vmap(self.base.head.prepare)(self.base.evidence(datum))
        looks = (jnp.arange(len(datum.x)) < self.context).astype(prepared.dtype)
        return ReparameterizedPath(
            _Open(model),
            inputs_of(model, datum),
            _Either(model, self.base.head, self.base.family),
            jnp.concatenate([prepared, looks[:, None]], -1),
            _AsItIs(self.base.family),
            real_steps(len(datum.x), datum.steps),
            datum.burn_in,
            state_before(model, datum),
        )

    def law(self, model: Any) -> type[ReparameterizedPath]:
        """Return the type of path."""
        return ReparameterizedPath

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse what the base refuses, and a family other than that of the model's own steps."""
        verdict = self.base.rule(inference)
        if verdict.kind == "refused":
            return verdict
        law, step = self.base.family.law, inference.model.step_law
        if law is not step or not issubclass(law, Reparameterized):
            return Verdict(
                "refused",
                f"OpenLoop: steps of the model are {step.__name__} and of the posterior {law.__name__}, and "
                "draws of both have to be one function of noise; use families.DiagGaussian for both",
            )
        return verdict


class _Open(AbstractRecurrence):
    """The model's recurrence, its carry shown as it is."""

    model: Any

    def start(self) -> tuple[PyTree, Array]:
        """Return the model's."""
        return self.model.start()

    def advance(self, carry: PyTree, z: Array, inputs: PyTree) -> PyTree:
        """Advance the model's."""
        return self.model.advance(carry, z, inputs)

    def features(self, carry: PyTree) -> Any:
        """Return the carry."""
        return carry

    def prior_from(self, carry: PyTree) -> AbstractDensity:
        """Return the model's."""
        return self.model.prior_from(carry)


class _Either(eqx.Module):
    """From a carry and one step of evidence to the law of z_t: inferred or foreseen."""

    model: Any
    head: Any
    family: AbstractFamily

    def __call__(self, carry: PyTree, evidence: Float[Array, "w1"]) -> AbstractDensity:
        """Choose by the last entry of the evidence."""
        looks = evidence[-1] > 0.5
        seen = self.family(self.head(self.model.features(carry), evidence[:-1]))
        return jax.tree.map(lambda q, p: jnp.where(looks, q, p), seen, self.model.prior_from(carry))


class _AsItIs(eqx.Module):
    """A family whose parameters are the law itself."""

    family: AbstractFamily

    def initial_params(self) -> Any:
        """Return the family's first law."""
        return self.family(self.family.initial_params())

    def __call__(self, law: Any) -> Any:
        """Return it."""
        return law
