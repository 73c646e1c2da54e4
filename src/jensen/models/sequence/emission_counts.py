"""Discrete emissions: categories and counts, entries independent given the state."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.dist import CategoricalRow, PoissonRow, poisson_log_prob
from jensen.errors import InputError
from jensen.models.sequence.emissions import (
    EMPTY,
    AbstractEmission,
    Steps,
    counted,
    log_probs,
    refuse_inputs,
)
from jensen.models.static.start import k_means, weights_of
from jensen.nets import Frame, column_means
from jensen.typing import Array, Bool, Float, PRNGKey

RATE_FLOOR = 1e-6
"""Smallest rate the M-step returns, in counts per step."""


class CategoricalEmission(AbstractEmission):
    """Every entry x_{td} is a category in 0..C−1 with logits η_kd + W_kd u_t.

    Attributes:
        logits: η.
        weights: W.
        input_frame: Coordinates of the inputs.
    """

    kind: ClassVar[str] = "categorical"
    logits: Float[Array, "k d c"]
    weights: Float[Array, "k d c u"]
    input_frame: Frame
    data_dim: int
    input_dim: int

    @classmethod
    def new(
        cls, num_states: int, data_dim: int, input_dim: int, num_categories: int, *, key: PRNGKey
    ) -> CategoricalEmission:
        """Return random probabilities."""
        logits = jax.random.normal(key, (num_states, data_dim, num_categories))
        weights, frame = jnp.zeros((*logits.shape, input_dim)), Frame.identity(input_dim)
        return cls(logits=logits, weights=weights, input_frame=frame, data_dim=data_dim, input_dim=input_dim)

    def see(
        self, x: Float[Array, "n d"], mask: Bool[Array, "n d"] | None, inputs: Float[Array, "n u"] | None
    ) -> Steps:
        """Look the probabilities of the categories up."""
        codes, column = x.astype(jnp.int32), jnp.arange(self.data_dim)
        if inputs is None:
            each = log_probs(self.logits)[:, column, codes]
        else:
            rows = log_probs(self._logits(self.input_frame.enter(inputs)))
            each = jnp.take_along_axis(rows, codes[:, None, :, None], -1)[..., 0].swapaxes(0, 1)
        each = each if mask is None else jnp.where(mask, each, 0.0)
        return Steps(each.sum(-1), (codes, mask, inputs))

    def moments(self, steps: Steps, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum how often every category was emitted."""
        codes, mask, _ = steps.detail
        hot = jax.nn.one_hot(codes, self.logits.shape[-1], dtype=r.dtype)
        hot = hot if mask is None else jnp.where(mask[..., None], hot, 0.0)
        return {"categories": (r @ hot.reshape(len(codes), -1)).reshape(self.logits.shape)}

    def maximized(self, statistics: dict[str, Array], free: Any) -> CategoricalEmission:
        """Return relative frequencies."""
        refuse_inputs(self)
        if not free.logits:
            return self
        new = counted(self.logits, statistics["categories"], EMPTY * statistics["weight"])
        return eqx.tree_at(lambda e: e.logits, self, new)

    def expected(self, steps: Steps, r: Float[Array, "k n"]) -> Float[Array, "n d"]:
        """Return the likeliest category."""
        inputs = steps.detail[2]
        if inputs is None:
            mixed = jnp.einsum("kn,kdc->ndc", r, jnp.exp(log_probs(self.logits)))
        else:
            probs = jnp.exp(log_probs(self._logits(self.input_frame.enter(inputs))))
            mixed = jnp.einsum("kn,nkdc->ndc", r, probs)
        return mixed.argmax(-1).astype(r.dtype)

    def observation(self, state: Any, inputs: Float[Array, "u"] | None, frame: Frame) -> CategoricalRow:
        """Return the categories' law; what is impossible has a logit of −1000."""
        if inputs is None:
            return CategoricalRow(self.logits[state])
        return CategoricalRow(self._logits(self.input_frame.enter(inputs)[None])[0][state])

    def at_floor(self) -> Bool[Array, "0"]:
        """There are no scales."""
        return jnp.zeros(0, bool)

    def check(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Demand codes 0..C−1."""
        c = self.logits.shape[-1]
        bad = seen & ((x != np.round(x)) | (x < 0) | (x >= c))
        _refuse(x, bad, f"categories are the whole numbers 0 to {c - 1}")

    def start(
        self, rows: Datum, rng: np.random.Generator
    ) -> tuple[CategoricalEmission, Frame, np.ndarray | None]:
        """Start at the frequencies of the columns, perturbed so that states differ."""
        x, weight, c = np.asarray(rows.x), weights_of(rows), self.logits.shape[-1]
        mask = np.ones(x.shape, bool) if rows.mask is None else np.asarray(rows.mask)
        share = np.stack([column_means((x == code) * 1.0, mask, weight) for code in range(c)], -1)
        share = (share * len(x) + 1) / (share.sum(-1, keepdims=True) * len(x) + c)
        logits = np.log(share) + 0.7 * rng.normal(size=self.logits.shape)
        new = eqx.tree_at(
            lambda e: (e.logits, e.input_frame),
            self,
            (jnp.asarray(logits, jnp.result_type(float)), inputs_frame(rows, self.input_frame)),
        )
        return new, Frame.identity(self.data_dim), None

    def parameters(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return probabilities (K, D, C), at u = 0 where there are inputs, and the inputs' weights."""
        unit = np.asarray(self.input_frame.scale, np.float64)
        weights = np.asarray(self.weights, np.float64) / unit
        logits = np.asarray(self.logits, np.float64)
        logits = logits - weights @ np.asarray(self.input_frame.shift, np.float64)
        probs = np.exp(logits - logits.max(-1, keepdims=True))
        got = {"probs": probs / probs.sum(-1, keepdims=True)}
        return got | {"input_weights": weights} if self.input_dim else got

    def _logits(self, u: Float[Array, "n u"]) -> Float[Array, "n k d c"]:
        return self.logits + jnp.einsum("kdcu,nu->nkdc", self.weights, u)


class PoissonEmission(AbstractEmission):
    """Every entry x_{td} is a count with log-rate η_kd + W_kd u_t.

    Attributes:
        log_rates: η.
        weights: W.
        input_frame: Coordinates of the inputs.
    """

    kind: ClassVar[str] = "poisson"
    log_rates: Float[Array, "k d"]
    weights: Float[Array, "k d u"]
    input_frame: Frame
    data_dim: int
    input_dim: int

    @classmethod
    def new(cls, num_states: int, data_dim: int, input_dim: int, *, key: PRNGKey) -> PoissonEmission:
        """Return random rates about one."""
        log_rates = 0.5 * jax.random.normal(key, (num_states, data_dim))
        weights, frame = jnp.zeros((num_states, data_dim, input_dim)), Frame.identity(input_dim)
        return cls(
            log_rates=log_rates, weights=weights, input_frame=frame, data_dim=data_dim, input_dim=input_dim
        )

    def see(
        self, x: Float[Array, "n d"], mask: Bool[Array, "n d"] | None, inputs: Float[Array, "n u"] | None
    ) -> Steps:
        """Evaluate the counts."""
        each = poisson_log_prob(x, self._log_rates(inputs))
        each = each if mask is None else jnp.where(mask, each, 0.0)
        return Steps(each.sum(-1), (x, mask, inputs))

    def moments(self, steps: Steps, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum counts, and the weight of the entries that were counted."""
        x, mask, _ = steps.detail
        real = jnp.ones_like(x) if mask is None else mask.astype(r.dtype)
        return {"total": r @ (x * real), "exposure": r @ real}

    def maximized(self, statistics: dict[str, Array], free: Any) -> PoissonEmission:
        """Return mean counts, not below the floor."""
        refuse_inputs(self)
        if not free.log_rates:
            return self
        exposure = statistics["exposure"]
        enough = exposure > EMPTY * statistics["weight"]
        rate = statistics["total"] / jnp.where(enough, exposure, 1.0)
        new = jnp.where(enough, jnp.log(jnp.maximum(rate, RATE_FLOOR)), self.log_rates)
        return eqx.tree_at(lambda e: e.log_rates, self, new)

    def expected(self, steps: Steps, r: Float[Array, "k n"]) -> Float[Array, "n d"]:
        """Mix the states' rates."""
        rates = jnp.exp(self._log_rates(steps.detail[2]))
        return (r[..., None] * rates).sum(0)

    def observation(self, state: Any, inputs: Float[Array, "u"] | None, frame: Frame) -> PoissonRow:
        """Return the counts' law."""
        rows = self._log_rates(None if inputs is None else inputs[None])
        return PoissonRow(rows[state, 0])

    def at_floor(self) -> Bool[Array, "0"]:
        """Rates at their floor are no cause for alarm: a state may emit zeros only."""
        return jnp.zeros(0, bool)

    def check(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Demand counts."""
        _refuse(x, seen & ((x != np.round(x)) | (x < 0)), "counts are the whole numbers from 0")

    def start(
        self, rows: Datum, rng: np.random.Generator
    ) -> tuple[PoissonEmission, Frame, np.ndarray | None]:
        """Start at k-means centres of the square roots, whose variance does not depend on the rate."""
        weight = weights_of(rows)
        y = 2 * np.sqrt(np.asarray(rows.x, np.float64) + 0.375)
        mask = None if rows.mask is None else np.asarray(rows.mask)
        middle = column_means(y, mask, weight)
        y = y if mask is None else np.where(mask, y, middle)
        centres, label = k_means(y, weight, len(self.log_rates), rng)
        rates = np.maximum((centres / 2) ** 2 - 0.375, 1e-3 * np.maximum((middle / 2) ** 2, 1.0))
        new = eqx.tree_at(
            lambda e: (e.log_rates, e.input_frame),
            self,
            (jnp.asarray(np.log(rates), jnp.result_type(float)), inputs_frame(rows, self.input_frame)),
        )
        return new, Frame.identity(self.data_dim), label

    def parameters(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return rates (K, D), at u = 0 where there are inputs, and the inputs' weights."""
        weights = np.asarray(self.weights, np.float64) / np.asarray(self.input_frame.scale, np.float64)
        log_rates = np.asarray(self.log_rates, np.float64)
        log_rates = log_rates - weights @ np.asarray(self.input_frame.shift, np.float64)
        got = {"rates": np.exp(log_rates)}
        return got | {"input_weights": weights} if self.input_dim else got

    def _log_rates(self, inputs: Float[Array, "n u"] | None) -> Float[Array, "k n d"]:
        if inputs is None:
            return self.log_rates[:, None]
        return self.log_rates[:, None] + jnp.einsum(
            "kdu,nu->knd", self.weights, self.input_frame.enter(inputs)
        )


def inputs_frame(rows: Datum, before: Frame) -> Frame:
    """Return the frame that standardizes the inputs, if there are any. Host code."""
    if rows.cond is None:
        return before
    return Frame.standardizing(np.asarray(rows.cond), None, weights_of(rows))


def _refuse(x: np.ndarray, bad: np.ndarray, rule: str) -> None:
    if not bad.any():
        return
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    raise InputError(
        f"x holds {x[at]:.6g} at sequence {at[0]}, step {at[1]}, column {at[2]} "
        f"({int(bad.sum())} such entries): {rule}"
    )
