"""One posterior for a latent behind the whole data set."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    AbstractModel,
    Datum,
    HasFamily,
    HoldsData,
    LogMeanOfWeights,
    SharesLatent,
    StartsFromModel,
    Verdict,
)
from jensen.dist import AbstractDistribution, FullGaussian
from jensen.errors import InputError, check_key, check_made
from jensen.families import AbstractFamily, Placed, check_family
from jensen.posteriors.local import Laplace, Pathfinder
from jensen.posteriors.rules import family_matches_prior
from jensen.posteriors.together import Together
from jensen.typing import Array, Float, PRNGKey


class Global(HasFamily, SharesLatent, StartsFromModel):
    """q(z) for one z behind all data: its KL counts once, so each of N data answers for 1/N of it.

    The per-datum bound is E_q[log p(x_i | z)] − KL(q ‖ p)/N; summed over the data it is the bound on
    log p(x_1, …, x_N).

    Args:
        family: Which laws q may be.
        start: ``posteriors.Laplace()`` or ``posteriors.Pathfinder()``: where a fit starts, once it knows the
            data. The family is then ``families.Placed`` there. By default q starts standard normal.
        key: Unused by families with a fixed start; kept so that every posterior is made alike.

    Raises:
        InputError: If a start is given to a family that is neither Gaussian nor a flow.
    """

    family: AbstractFamily
    params: Float[Array, "p"]
    start: Laplace | Pathfinder | None
    initialized: bool

    def __init__(self, family: AbstractFamily, *, start: Laplace | Pathfinder | None = None, key: PRNGKey):
        check_key(key)
        check_family("Global", "family", family)
        if start is not None:
            check_made("Global", "start", start, Laplace | Pathfinder, "posteriors.Laplace()")
        self.family = family if start is None else Placed(family)
        self.params = family.initial_params()
        self.start = start
        self.initialized = start is None

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Return the one set of parameters."""
        return self.params

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the one law."""
        return self.family(self.params)

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse bounds that do not add over data while z is shared by all of them."""
        if isinstance(inference.objective, LogMeanOfWeights) and isinstance(
            inference.model, AbstractLatentModel
        ):
            name = type(inference.objective).__name__
            return Verdict(
                "refused",
                f"{name} with Global: not additive over data that share one z; use ELBO",
            )
        return family_matches_prior(self.family, inference.model)

    def start_from(self, model: Any, rows: Datum, *, key: PRNGKey) -> Global:
        """Place the family at the law that ``start`` finds for all rows together.

        Raises:
            InputError: If the model's density is not finite at any of the points it was looked at.
        """
        assert isinstance(self.family, Placed)
        datum = jax.tree.map(jnp.asarray, rows)
        if isinstance(model, HoldsData):
            datum = jax.tree.map(lambda leaf: leaf[0], datum)
        else:
            model = Together(model, self.family.latent_dim)
        law = _found(self.start, model, datum, key)
        if not bool(jnp.isfinite(law.tril).all() & jnp.isfinite(law.loc).all()):
            raise InputError(
                f"Global: {type(self.start).__name__} found no finite law; check the model's log-density and "
                "its derivatives, or leave start= out"
            )
        placed = Placed.near(self.family.base, law.loc, law.tril)
        return eqx.tree_at(lambda q: (q.family, q.initialized), self, (placed, True))


@eqx.filter_jit
def _found(start: Any, model: Any, datum: Datum, key: PRNGKey) -> FullGaussian:
    return start(model, datum, key=key)
