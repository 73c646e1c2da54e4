"""From an inference and a user's data to what the compiled program takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum, Estimate, HasBatchTerm, IndexesData, Inference, SharesLatent
from jensen.errors import InputError
from jensen.fit.data import Data
from jensen.fit.enter import check_support
from jensen.fit.fingerprint import Static
from jensen.fit.lanes import ends
from jensen.nets import fixed
from jensen.typing import PRNGKey, PyTree, Scalar

Trainable = Callable[[Inference], Any]
"""Picks the parts of an inference to train: a node, or a tuple of nodes."""


@dataclass(frozen=True)
class BatchLoss:
    """The surrogate whose gradient the estimator promises, averaged over a batch.

    Attributes:
        static: What of the inference is not an array.
        num_data: Size of the data set; a traced number where it grows.
    """

    static: Static
    num_data: Any

    def __call__(
        self, params: PyTree, frozen: PyTree, rows: Datum, *, key: PRNGKey, step: Any, memory: PyTree
    ) -> tuple[Scalar, tuple[Scalar, PyTree, PyTree]]:
        """Return the loss; the bound, the estimator's memory averaged over the batch, where lanes ended."""
        inference: Inference = eqx.combine(params, frozen, self.static.value)
        each = self.estimates(inference, rows, key=key, step=step, memory=memory)
        weight = 1.0 if rows.weight is None else rows.weight
        loss, value = jnp.mean(weight * each.surrogate), jnp.mean(weight * each.value)
        objective = inference.objective
        if isinstance(objective, HasBatchTerm) and objective.couples_data:
            assert each.terms is not None  # rules refuse estimators without draws
            # weights are equal here: they are what windows of sequences are scaled by
            term = objective.batch_term(each.terms, each.q, step, self.num_data)
            loss = loss + jnp.mean(jnp.asarray(weight)) * term
        return loss, (value, jax.tree.map(lambda leaf: leaf.mean(0), each.state), ends(each, rows))

    def estimates(
        self, inference: Inference, rows: Datum, *, key: PRNGKey, step: Any, memory: PyTree
    ) -> Estimate:
        """Return the estimate of every row, stacked."""

        def one(datum: Datum, key: PRNGKey) -> Estimate:
            return inference.gradient(
                inference, datum, key=key, step=step, num_data=self.num_data, state=memory
            )

        if isinstance(inference.posterior, SharesLatent):
            # one z is behind all rows: it is drawn once for the whole batch
            return eqx.filter_vmap(one, in_axes=(0, None))(rows, key)
        # a path's law holds networks, and so leaves that are no arrays
        return eqx.filter_vmap(one)(rows, jax.random.split(key, rows.x.shape[0]))


@dataclass(frozen=True)
class Split:
    """An inference, or another tree, in three parts: what is trained, the other arrays, and the rest."""

    params: PyTree
    frozen: PyTree
    static: Static

    @classmethod
    def of(cls, inference: Any, trainable: Callable[[Any], Any] | None = None) -> Split:
        """Split once an inference, or whatever else is trained; put together again in the compiled program.

        Raises:
            InputError: If ``trainable`` does not pick parts of the inference.
        """
        mask = fixed.trainable(inference)
        if trainable is not None:
            nothing = jax.tree.map(lambda _: False, inference)
            try:
                chosen = eqx.tree_at(trainable, nothing, replace_fn=lambda n: jax.tree.map(lambda _: True, n))
            except (AttributeError, TypeError, ValueError) as error:
                raise InputError(
                    f"trainable must pick parts of the inference, as lambda inference: inference.model does "
                    f"({error})"
                ) from error
            mask = jax.tree.map(lambda a, b: a and b, mask, chosen)
        params, rest = eqx.partition(inference, mask)
        frozen, static = eqx.partition(rest, eqx.is_array)
        return cls(jax.tree.map(jnp.asarray, params), frozen, Static(static))

    def check_trainable(self) -> None:
        """Refuse to train nothing.

        Raises:
            InputError: If no floating-point array is left to train.
        """
        if not jax.tree.leaves(self.params):
            raise InputError("nothing to train: no floating-point array is left; check trainable=")

    def join(self, params: PyTree) -> Any:
        """Put what was split together again with other parameters."""
        return eqx.combine(params, self.frozen, self.static.value)


def check_fits(inference: Inference, data: Data, *, training: bool = True) -> None:
    """Refuse data that the inference cannot take.

    Raises:
        InputError: Another number of columns, values outside the support, a per-datum posterior with other
            data, or weights under an objective that averages over the batch itself.
    """
    model, posterior, objective = inference.model, inference.posterior, inference.objective
    check_support(model, data.rows())
    if isinstance(posterior, IndexesData):
        name = type(posterior).__name__
        if not training:
            raise InputError(f"{name} has no posterior for new rows; use posteriors.Amortized, or refit")
        if posterior.num_data != data.num_data:
            raise InputError(
                f"{name} was made for {posterior.num_data} rows, x has {data.num_data}: they must agree"
            )
    couples = isinstance(objective, HasBatchTerm) and objective.couples_data
    if training and data.weights is not None and couples:
        raise InputError(
            f"weights do not reach the batch term of {type(objective).__name__}; drop them, or grant "
            "free bits per datum (free_bits_over='datum')"
        )
