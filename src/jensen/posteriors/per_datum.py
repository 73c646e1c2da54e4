"""One set of variational parameters per training datum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from jensen.core import (
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    IndexesData,
    Verdict,
)
from jensen.dist import AbstractDistribution
from jensen.errors import InputError, at_least, check_key
from jensen.families import AbstractFamily, AbstractPathFamily, check_family
from jensen.posteriors.rules import family_matches_prior
from jensen.typing import Array, Float, PRNGKey


class PerDatum(HasFamily, IndexesData):
    """q_i(z) with its own parameters for every datum i: no amortization gap, no answer for new data.

    For sequences, the family is one of paths, ``families.GaussianMarkov``. On new data the parameters are
    optimized afresh (``use`` and ``diagnose`` do so and say it).

    Args:
        family: Which laws q_i may be.
        num_data: Number of training data.
        key: Unused by families with a fixed start; kept so that every posterior is made alike.

    Raises:
        InputError: If ``num_data`` is not positive.
    """

    family: AbstractFamily
    table: Float[Array, "n p"]
    num_data: int

    def __init__(self, family: AbstractFamily, *, num_data: int, key: PRNGKey):
        check_key(key)
        check_family("PerDatum", "family", family)
        at_least("PerDatum", 1, num_data=num_data)
        self.family = family
        self.table = jnp.tile(family.initial_params(), (num_data, 1))
        self.num_data = num_data

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Look up the datum's row by its index."""
        if datum.index is None:
            raise InputError("PerDatum: the datum has no index; fit.Data numbers its rows")
        return self.table[datum.index]

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the law of this datum.

        Raises:
            InputError: If the family is one of paths of another length.
        """
        law: Any = self.family(self.parameters(datum))
        if not isinstance(self.family, AbstractPathFamily):
            return law
        if len(datum.x) != self.family.num_steps:
            name, steps = type(self.family).__name__, self.family.num_steps
            raise InputError(f"PerDatum: {name} was made for {steps} steps, sequences have {len(datum.x)}")
        return law if datum.steps is None else replace(law, steps=jnp.asarray(datum.steps))

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse a family that lives on another space than the prior."""
        return family_matches_prior(self.family, inference.model)
