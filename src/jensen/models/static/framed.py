"""What the Gaussian models share: a frame, exact evidence, and expectation maximization."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractModel,
    ChecksData,
    Datum,
    HasExactConditional,
    HasExpectationMaximization,
    InitializesFromData,
    Simulates,
)
from jensen.models.static.components import AbstractComponents
from jensen.nets import Frame
from jensen.nets import trainable as all_trainable
from jensen.typing import Array, Bool, Float, PyTree, Scalar


class HasFrame(AbstractModel):
    """A model whose parameters live in the coordinates of its frame.

    With the identity as its frame, the same model speaks of rows already standardized.
    """

    frame: eqx.AbstractVar[Frame]


class HasFloor(AbstractModel):
    """A model whose M-step keeps variances above a floor."""

    @abstractmethod
    def at_floor(self) -> Bool[Array, "..."]:
        """Say which variances sit at the floor."""


class AbstractGaussianModel(
    HasExpectationMaximization,
    HasExactConditional,
    HasFrame,
    HasFloor,
    ChecksData,
    InitializesFromData,
    Simulates,
):
    """A weighted sum of laws shaped like Gaussians, one or many, however their covariances are made."""

    components: eqx.AbstractVar[AbstractComponents]

    @property
    @abstractmethod
    def log_weights(self) -> Float[Array, "k"]:
        """Log weights of the components."""

    @abstractmethod
    def reweighted(self, count: Float[Array, "k"], free: Any) -> "AbstractGaussianModel":
        """Return the model with weights in proportion to ``count``, if it has any and they are free."""

    def standard(self, datum: Datum) -> tuple[Float[Array, "*n d"], Bool[Array, "*n d"] | None]:
        """Return rows in standardized coordinates, and their mask."""
        mask = None if datum.mask is None else jnp.asarray(datum.mask)
        return self.frame.enter(jnp.asarray(datum.x)), mask

    def component_log_prob(self, datum: Datum) -> Float[Array, "k"]:
        """Return log p(x | k) of the observed entries under every component, in nats."""
        y, mask = self.standard(datum)
        return self.components.log_prob(y, mask) - self.frame.log_scale(mask)

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(x) over the observed entries, in nats."""
        return jax.nn.logsumexp(self.log_weights + self.component_log_prob(datum))

    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return E[x | observed entries], the observed ones unchanged."""
        y, mask = self.standard(datum)
        if mask is None:
            return jnp.asarray(datum.x)
        expected = self.components.conditional_mean(self.log_weights, y, mask)
        return jnp.where(mask, datum.x, self.frame.leave(expected))

    def expectation(self, rows: Datum) -> dict[str, Array]:
        """Sum responsibilities and whitened moments over rows; missing entries enter by their expectations.

        Args:
            rows: Stacked rows, x of shape (N, D).

        Returns:
            ``log_evidence`` (nats) and ``weight``, and the sums the M-step needs.
        """
        y, mask = self.standard(rows)
        weight = jnp.ones(len(y)) if rows.weight is None else jnp.asarray(rows.weight)
        sums = self.components.expectation(self.log_weights, y, mask, weight)
        offset = self.frame.log_scale() * sums["weight"]
        if mask is not None:
            offset = weight @ jax.vmap(self.frame.log_scale)(mask)
        return sums | {"log_evidence": sums["log_evidence"] - offset}

    def maximization(self, statistics: PyTree, trainable: Any = None) -> "AbstractGaussianModel":
        """Return the model that maximizes the expected log-density of the rows.

        Args:
            statistics: The sums from ``expectation`` of this very model.
            trainable: A tree like the model of booleans; what is False is held, and the rest maximized
                given it. All free by default.
        """
        free = all_trainable(self) if trainable is None else trainable
        components = self.components.maximized(statistics, free.components)
        model = eqx.tree_at(lambda m: m.components, self, components)
        return model.reweighted(statistics["count"], free)

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which variances sit at the floor."""
        return self.components.covariance.at_floor()

    def check_data(self, rows: Datum) -> None:
        """Accept any real row; how many a start takes is said there."""


def frame_of(rows: Datum, isotropic: bool) -> Frame:
    """Return the frame that standardizes these rows, with one common unit for isotropic structures."""
    mask = None if rows.mask is None else np.asarray(rows.mask)
    weight = None if rows.weight is None else np.asarray(rows.weight)
    frame = Frame.standardizing(np.asarray(rows.x), mask, weight)
    return common_unit(frame) if isotropic else frame


def common_unit(frame: Frame) -> Frame:
    """Return the frame with the root mean square of its units as the one unit of all columns."""
    unit = np.sqrt((np.asarray(frame.scale, np.float64) ** 2).mean())
    return Frame(frame.shift, jnp.full_like(frame.scale, unit))


def standardized(frame: Frame, rows: Datum) -> np.ndarray:
    """Return rows in the frame's coordinates, in float64; missing entries are the column's mean, zero."""
    y = (np.asarray(rows.x, np.float64) - np.asarray(frame.shift, np.float64)) / np.asarray(
        frame.scale, np.float64
    )
    return y if rows.mask is None else np.where(rows.mask, y, 0.0)


def in_units(frame: Frame, means: Float[Array, "k d"]) -> np.ndarray:
    """Return means in the data's own units, in float64."""
    shift, scale = np.asarray(frame.shift, np.float64), np.asarray(frame.scale, np.float64)
    return shift + scale * np.asarray(means, np.float64)
