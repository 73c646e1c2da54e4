"""A posterior whose draws move towards the model's own by Hamiltonian steps."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from jensen.core import (
    AbstractCarryModel,
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    IndexesData,
    PicksLaw,
    SharesLatent,
    Verdict,
)
from jensen.dist import AbstractDensity, AbstractDistribution, Hamiltonian, Reparameterized
from jensen.errors import InputError, at_least, positive
from jensen.families import AbstractFamily
from jensen.posteriors.rules import space
from jensen.posteriors.starts import StartsItsBase
from jensen.typing import Array, Float, PRNGKey


class Moved(AbstractFamily):
    """The laws of a family, moved by Hamiltonian steps on one datum's density.

    Attributes:
        base: The family of starts.
        refined: Step sizes and temperature.
        model: The model.
        datum: The datum.
    """

    law: ClassVar[Any] = Hamiltonian
    base: Any
    refined: Any
    model: Any
    datum: Datum

    def __init__(self, base: AbstractFamily, refined: HamiltonianRefined, model: Any, datum: Datum):
        self.base, self.refined, self.model, self.datum = base, refined, model, datum

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return self.base.latent_dim

    @property
    def num_params(self) -> int:
        """Those of the start."""
        return self.base.num_params

    def initial_params(self) -> Float[Array, "p"]:
        """Those of the start."""
        return self.base.initial_params()

    def __call__(self, params: Float[Array, "p"]) -> Any:
        """Move the law that starts there."""
        return self.refined.moved(self.base(params), self.model, self.datum)


class HamiltonianRefined(PicksLaw, StartsItsBase):
    r"""Draws of q(z | x) moved by K leapfrog steps on −log p(x, z), with a momentum that cools on the way.

    The bound stays tractable: the steps keep volumes, so the density of the moved pair (z, momentum) is known
    (``dist.Hamiltonian``). Step sizes and the temperature are trained with the rest. A draw costs K + 1
    gradients of the model, and training second derivatives. log q(z) itself has no value, so gradients that
    need it (``StickTheLanding``, ``ScoreFunction``) are refused; ``Reparam`` is right, under IWAE too.

    Args:
        q: The posterior to start from: ``Amortized`` or another with a family of real vectors.
        steps: K.
        step_size: First step size of every coordinate; training keeps each within a factor e² of it.

    Raises:
        InputError: If q has no family, or the steps are not positive.

    References:
        Caterini, Doucet & Sejdinovic 2018, Hamiltonian variational auto-encoder.

    Example:
        >>> import jax
        >>> from jensen import families, posteriors
        >>> family = families.DiagGaussian(2)
        >>> q = posteriors.Amortized(family, data_dim=5, widths=(16,), key=jax.random.key(0))
        >>> posteriors.HamiltonianRefined(q, steps=3).raw_step.shape
        (2,)
    """

    base: Any
    raw_step: Float[Array, "d"]
    raw_heat: Float[Array, ""]
    steps: int
    step_size: float

    def __init__(self, q: HasFamily, steps: int = 3, step_size: float = 0.05):
        if not isinstance(q, HasFamily) or isinstance(q, IndexesData | SharesLatent):
            raise InputError(
                f"HamiltonianRefined: {type(q).__name__} is no network to start from; use "
                "posteriors.Amortized"
            )
        at_least("HamiltonianRefined", 1, steps=steps)
        positive("HamiltonianRefined", step_size=step_size)
        self.base = q
        self.raw_step = jnp.zeros(q.family.latent_dim)
        self.raw_heat = jnp.full((), 2.0)
        self.steps = steps
        self.step_size = step_size

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Return those of the start."""
        return self.base.parameters(datum)

    def family_given(self, model: Any, datum: Datum) -> Moved:
        """Return the moved laws of the family of starts."""
        return Moved(self.base.family_given(model, datum), self, model, datum)

    def moved(self, q: AbstractDistribution, model: Any, datum: Datum) -> Hamiltonian:
        """Return a law moved by this posterior's steps."""
        return Hamiltonian(q, model, datum, self.raw_step, self.raw_heat, self.steps, self.step_size)

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> Hamiltonian:
        """Build the moved law."""
        return self.moved(self.base(model, datum, key=key), model, datum)

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the moved law."""
        return Hamiltonian

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse what the network refuses, and latents that no force can move."""
        model: Any = inference.model
        verdict = self.base.rule(inference)
        if verdict.kind == "refused":
            return verdict
        law, name = self.base.law(model), type(model).__name__
        if isinstance(model, AbstractCarryModel):
            return Verdict(
                "refused", f"HamiltonianRefined: {name} has latents over time; use posteriors.Smoothing"
            )
        if space(law) is not object or not (
            issubclass(law, AbstractDensity) and issubclass(law, Reparameterized)
        ):
            return Verdict(
                "refused",
                f"HamiltonianRefined: no force can move draws of {law.__name__}; use posteriors.Amortized",
            )
        return verdict
