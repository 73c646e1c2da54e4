"""Mixture density networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    ChecksData,
    Datum,
    HasExactConditional,
    HasExactEvidence,
    HasExactPosterior,
    HasLatentDim,
    HasObservation,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDistribution, AbstractObservation, Categorical, GaussianRow, JointGaussianRow
from jensen.errors import InputError, at_least, check_key, nearest
from jensen.models.conditional.condition import HasCondFrame, check_cond, cond_frame_of
from jensen.models.conditional.heads import Heads
from jensen.models.likelihoods.gaussian import MIN_LOG_SCALE, Floor, noise_floor
from jensen.models.static.framed import HasFrame, frame_of, standardized
from jensen.models.static.start import check_rows, k_means, weights_of
from jensen.nets import MLP, Frame, net_or_mlp
from jensen.typing import Array, Float, Int, PRNGKey, Scalar

COVARIANCES = ("diag", "full")
GATES = ("input", "shared")

_NARROW = 0.1
"""Least deviation that components start with, relative to the column's."""

_QUIET = 0.1
"""What the last layer's weights are multiplied by, so that the start is the clusters of y for every x."""


class MixtureDensity(
    HasObservation,
    HasLatentDim,
    HasCondFrame,
    HasFrame,
    HasExactEvidence,
    HasExactPosterior,
    HasExactConditional,
    ChecksData,
    InitializesFromData,
    Simulates,
):
    r"""p(y | x) = Σ_k π_k(x) N(y; μ_k(x), Σ_k(x)), all by one network (Bishop 1994); z is the component.

    Fitted by gradient ascent on the exact log p(y | x): ``posteriors.Exact`` with ``gradients.Analytic``.
    EM is not offered: its M-step, a network fitted to the responsibilities, has no closed form. Deviations
    stay above e⁻⁶ of the column's (full covariances: of each column given those before it), and above
    δ/√12 for a column recorded in steps of δ. Hidden entries of y are integrated out exactly.

    Args:
        data_dim: Number D of columns of y.
        cond_dim: Number C of columns of x.
        num_components: Number K of components.
        covariance: ``"diag"`` or ``"full"``.
        gate: ``"input"`` for π(x), ``"shared"`` for one π whatever x.
        widths: Hidden widths of the default perceptron; empty for a linear map.
        net: Any equinox module from x, standardized, to ``num_params`` numbers, instead of it.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a number is not positive or a name unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> mdn = MixtureDensity(1, 2, 3, widths=(8,), key=jax.random.key(0))
        >>> mdn.prior_of(jnp.zeros(2)).probs.shape
        (3,)
    """

    posterior_law: ClassVar[type[AbstractDistribution]] = Categorical
    prior_law: ClassVar[type[AbstractDistribution]] = Categorical
    net: Any
    logits: Float[Array, "k"] | None
    frame: Frame
    cond_frame: Frame
    floor: Floor
    data_dim: int
    cond_dim: int
    num_components: int
    covariance: str
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        cond_dim: int,
        num_components: int,
        *,
        covariance: str = "diag",
        gate: str = "input",
        widths: Sequence[int] = (64, 64),
        net: Any = None,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("MixtureDensity", 1, data_dim=data_dim, cond_dim=cond_dim, num_components=num_components)
        for word, value, known in (("covariance", covariance, COVARIANCES), ("gate", gate, GATES)):
            if value not in known:
                raise InputError(f"MixtureDensity: {word} {value!r} is unknown{nearest(value, known)}")
        self.logits = jnp.zeros(num_components) if gate == "shared" else None
        self.frame = Frame.identity(data_dim)
        self.cond_frame = Frame.identity(cond_dim)
        self.floor = Floor(jnp.full(data_dim, np.exp(MIN_LOG_SCALE)))
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.num_components = num_components
        self.covariance = covariance
        self.initialized = False
        self.net = net_or_mlp("MixtureDensity", net, cond_dim, self.num_params, widths, key=key)

    @property
    def num_params(self) -> int:
        """Length of the network's output: K gates if they depend on x, then K means, scales, couplings."""
        d = self.data_dim
        each = 2 * d + (d * (d - 1) // 2 if self.covariance == "full" else 0)
        return self.num_components * (each + (self.logits is None))

    @property
    def latent_dim(self) -> int:
        """K: the length of z once written one-hot."""
        return self.num_components

    def heads(self, cond: Any) -> tuple[Float[Array, "k"], Heads]:
        """Return the gates' logits and the components, in standardized coordinates."""
        out, k = self.net(self.entered(cond)), self.num_components
        logits, rest = (out[:k], out[k:]) if self.logits is None else (self.logits, out)
        return logits, Heads.of(rest.reshape(k, -1), jax.lax.stop_gradient(self.floor.value))

    def prior_of(self, cond: Any) -> Categorical:
        """Return p(z | x)."""
        return Categorical(self.heads(cond)[0])

    def likelihood(self, z: Int[Array, ""], cond: Any) -> AbstractObservation:
        """Return p(y | z, x), in the data's own units."""
        _, heads = self.heads(cond)
        unit, origin = jax.lax.stop_gradient((self.frame.scale, self.frame.shift))
        if heads.coupling is None:
            return GaussianRow(unit * heads.means[z], unit * heads.scale[z], origin)
        return JointGaussianRow(self.frame.leave(heads.means[z]), unit[:, None] * heads.tril[z])

    def log_likelihood(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(y | z, x) over the observed entries, in nats."""
        return self._seen(datum)[1][z]

    def log_joint(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log π_z(x) + log N(y; μ_z(x), Σ_z(x)), in nats."""
        log_gates, log_p = self._seen(datum)
        return log_gates[z] + log_p[z]

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        log_gates, log_p = self._seen(datum)
        return jax.nn.logsumexp(log_gates + log_p)

    def posterior(self, datum: Datum) -> Categorical:
        """Return the responsibilities p(z | y, x)."""
        log_gates, log_p = self._seen(datum)
        return Categorical(log_gates + log_p)

    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return E[y | observed entries, x], the observed ones unchanged."""
        if datum.mask is None:
            return jnp.asarray(datum.x)
        logits, heads = self.heads(datum.cond)
        mask, y = jnp.asarray(datum.mask), self.frame.enter(jnp.asarray(datum.x))
        weights = jax.nn.softmax(jax.nn.log_softmax(logits) + heads.log_prob(y, mask))
        expected = self.frame.leave(weights @ heads.conditional_means(y, mask))
        return jnp.where(mask, datum.x, expected)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Int[Array, ""], Float[Array, "d"]]:
        """Draw z and y given the condition that ``like`` lends."""
        cond = None if like is None else like.cond
        to_z, to_y = jax.random.split(key)
        z, _ = self.prior_of(cond).sample_and_log_prob(key=to_z)
        return z, self.likelihood(z, cond).sample(key=to_y)

    def check_data(self, rows: Datum) -> None:
        """Refuse conditions of another shape; any real row is welcome."""
        check_cond(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> MixtureDensity:
        """Start at the clusters of y, all equally likely whatever x; a net of the user's own stays as it is.

        Raises:
            InputError: If there are fewer rows than two.
        """
        check_rows(self, rows, 2)
        frame = frame_of(rows, False)
        floor = Floor(noise_floor(rows.x, rows.mask, frame))
        model = eqx.tree_at(
            lambda m: (m.frame, m.cond_frame, m.floor, m.initialized),
            self,
            (frame, cond_frame_of(rows), floor, True),
        )
        if not isinstance(self.net, MLP):
            return model
        y, weight, k = standardized(frame, rows), weights_of(rows), self.num_components
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        centres, label = k_means(y, weight, k, rng)
        within = np.sqrt(weight @ (y - centres[label]) ** 2 / weight.sum())
        each = np.zeros((k, (self.num_params - k * (self.logits is None)) // k))
        each[:, : self.data_dim] = centres
        each[:, self.data_dim : 2 * self.data_dim] = np.log(np.maximum(within, _NARROW))
        gates = np.zeros(k if self.logits is None else 0)
        last = self.net.layers[-1]
        bias = jnp.asarray(np.concatenate([gates, each.reshape(-1)]), last.weight.dtype)
        return eqx.tree_at(
            lambda m: (m.net.layers[-1].weight, m.net.layers[-1].bias), model, (_QUIET * last.weight, bias)
        )

    def _seen(self, datum: Datum) -> tuple[Float[Array, "k"], Float[Array, "k"]]:
        """Return log π(x), and log p(y | z, x) under every component, in the data's own units."""
        logits, heads = self.heads(datum.cond)
        mask = None if datum.mask is None else jnp.asarray(datum.mask)
        log_p = heads.log_prob(self.frame.enter(jnp.asarray(datum.x)), mask)
        return jax.nn.log_softmax(logits), log_p - self.frame.log_scale(mask)
