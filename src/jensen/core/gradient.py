"""The fourth socket: gradient estimators, how the climb is estimated."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx

from jensen.core.datum import Datum
from jensen.core.terms import Terms
from jensen.core.verdict import AbstractInference, Verdict
from jensen.typing import Array, Int, PRNGKey, PyTree, Scalar


class Estimate(eqx.Module):
    """One datum's contribution to a gradient step.

    Attributes:
        surrogate: A number whose gradient is the gradient estimate of the loss.
        value: The plain bound, in nats.
        state: What the estimator carries to the next step.
        terms: The draws, for objectives with a term across data; ``None`` where none were made.
        q: The posterior, for the same purpose.
    """

    surrogate: Scalar
    value: Scalar
    state: PyTree = None
    terms: Terms | None = None
    q: Any = None


class AbstractGradient(eqx.Module):
    """An estimator of the gradient of the objective in the parameters of model and posterior."""

    @abstractmethod
    def init(self, inference: AbstractInference) -> PyTree:
        """Return the state before the first step; ``None`` for estimators without memory."""

    @abstractmethod
    def __call__(
        self,
        inference: AbstractInference,
        datum: Datum,
        *,
        key: PRNGKey,
        step: Int[Array, ""],
        num_data: Any,
        state: PyTree,
    ) -> Estimate:
        """Estimate for one datum. Weights and averaging over the batch are the loop's."""

    @abstractmethod
    def rule(self, inference: AbstractInference) -> Verdict:
        """Judge the combination from the gradient's side."""
