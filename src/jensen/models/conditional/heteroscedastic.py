"""A network for the mean, and one for the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasExactConditional
from jensen.dist import GaussianRow, log_prob_observed
from jensen.errors import InputError, at_least, check_key, nearest
from jensen.families import bounded_exp
from jensen.models.conditional.condition import check_cond, cond_frame_of
from jensen.models.conditional.regression import AbstractRegression
from jensen.models.likelihoods.gaussian import MIN_LOG_SCALE, Floor, noise_floor
from jensen.models.static.framed import HasFrame, frame_of
from jensen.nets import Frame, net_or_mlp
from jensen.typing import Array, Float, PRNGKey, Scalar

VARIANCES = ("input", "shared", "unit")


class HeteroscedasticNet(AbstractRegression, HasExactConditional, HasFrame):
    r"""p(y | x) = N(μ(x), diag σ²(x)), μ and log σ by one network (Nix & Weigend 1994).

    Unimodal: where y may go either way given x, its mean lies between, where no y ever was. The noise stays
    above e⁻⁶ of a column's deviation, and above δ/√12 for a column recorded in steps of δ.

    Args:
        data_dim: Number D of columns of y.
        cond_dim: Number C of columns of x.
        widths: Hidden widths of the default perceptron.
        net: Any equinox module from x, standardized, to D means and, with ``variance="input"``, D log-scales.
        variance: ``"input"``: σ(x) by the network. ``"shared"``: one learned σ a column. ``"unit"``: σ is the
            column's own deviation, so that maximum likelihood is least squares.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive or ``variance`` is unknown.

    Example:
        >>> import jax
        >>> net = HeteroscedasticNet(2, 3, widths=(8,), key=jax.random.key(0))
        >>> net.law(jax.numpy.ones(3)).scale.shape
        (2,)
    """

    net: Any
    log_scale: Float[Array, "d"] | None
    frame: Frame
    cond_frame: Frame
    floor: Floor
    data_dim: int
    cond_dim: int
    variance: str
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        cond_dim: int,
        *,
        widths: Sequence[int] = (64, 64),
        net: Any = None,
        variance: str = "input",
        key: PRNGKey,
    ):
        check_key(key)
        at_least("HeteroscedasticNet", 1, data_dim=data_dim, cond_dim=cond_dim)
        if variance not in VARIANCES:
            raise InputError(
                f"HeteroscedasticNet: variance {variance!r} is unknown{nearest(variance, VARIANCES)}"
            )
        out = 2 * data_dim if variance == "input" else data_dim
        self.net = net_or_mlp("HeteroscedasticNet", net, cond_dim, out, widths, key=key)
        self.log_scale = jnp.zeros(data_dim) if variance == "shared" else None
        self.frame = Frame.identity(data_dim)
        self.cond_frame = Frame.identity(cond_dim)
        self.floor = Floor(jnp.full(data_dim, np.exp(MIN_LOG_SCALE)))
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.variance = variance
        self.initialized = False

    def law(self, cond: Any) -> GaussianRow:
        """Return p(y | x)."""
        out = self.net(self.entered(cond))
        mean = out[: self.data_dim]
        unit, origin = jax.lax.stop_gradient((self.frame.scale, self.frame.shift))
        if self.variance == "unit":
            return GaussianRow(unit * mean, unit, origin)
        raw = out[self.data_dim :] if self.log_scale is None else self.log_scale
        floor = jax.lax.stop_gradient(self.floor.value)
        return GaussianRow(unit * mean, unit * (floor + bounded_exp(raw)), origin)

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        return log_prob_observed(self.law(datum.cond), datum.x, datum.mask)

    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return y with its hidden entries replaced by μ(x)."""
        x = jnp.asarray(datum.x)
        return x if datum.mask is None else jnp.where(datum.mask, x, self.law(datum.cond).mean)

    def check_data(self, rows: Datum) -> None:
        """Refuse conditions of another shape; any real row is welcome."""
        check_cond(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> HeteroscedasticNet:
        """Standardize y and x, so that the network starts near the column means."""
        frame = frame_of(rows, False)
        floor = Floor(noise_floor(rows.x, rows.mask, frame))
        return eqx.tree_at(
            lambda m: (m.frame, m.cond_frame, m.floor, m.initialized),
            self,
            (frame, cond_frame_of(rows), floor, True),
        )
