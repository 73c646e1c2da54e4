"""Are the latents used? KL per dimension, active units, and the information q carries about the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import AbstractCarryModel, AbstractLatentModel, Datum, Inference, SharesLatent, score
from jensen.diagnose.estimate import Estimate
from jensen.diagnose.rows import count, inference_of, look, weight_of
from jensen.diagnose.table import columns, number
from jensen.dist import (
    AbstractDensity,
    AbstractLayered,
    AbstractMoments,
    DiagGaussian,
    TopDownGaussian,
    draw,
    kl_per_dimension,
)
from jensen.errors import InputError, check_key
from jensen.fit import Fitted
from jensen.typing import PRNGKey

ACTIVE = 0.01
"""A unit is active where the variance over data of its posterior mean exceeds this (Burda et al. 2016)."""

DRAWS = 32
"""Draws behind each of two estimates of a posterior mean that has no closed form."""


@dataclass(frozen=True)
class Collapse:
    """How much of the latents is used, in nats per datum.

    Attributes:
        kl: Mean KL(q(z|x) ‖ p(z)).
        kl_per_dimension: The same per dimension of diagonal Gaussians, layers of them included, per latent
            group of other laws; ``None`` without a closed form.
        mean_variance: Variance over data of E_q[z], per dimension; ``None`` where q has no mean. Of layers,
            whose means are averages over draws, the covariance of two independent averages.
        information: I_q(x; z) over the rows looked at, E log q(z|x) − log (1/N) Σⱼ q(z|xⱼ). It cannot exceed
            ``ceiling`` and says nothing beyond it.
        ceiling: log N, or the entropy of the row weights.
        num_data: N, the rows looked at.
        kl_per_layer: Mean of log q(z_l | ·) − log p(z_l | ·) of each layer of a hierarchy, the top first: no
            divergences, and maybe negative, where q goes up. ``None`` for other laws.
    """

    kl: Estimate
    kl_per_dimension: np.ndarray | None
    mean_variance: np.ndarray | None
    information: Estimate
    ceiling: float
    num_data: int
    kl_per_layer: np.ndarray | None = None

    @property
    def active(self) -> np.ndarray | None:
        """Which units are active."""
        return None if self.mean_variance is None else self.mean_variance > ACTIVE

    @property
    def num_active(self) -> int | None:
        """How many units are active."""
        return None if self.active is None else int(self.active.sum())

    @property
    def marginal_kl(self) -> float:
        """KL(q(z) ‖ p(z)) = KL − I: how far the aggregate posterior is from the prior."""
        return self.kl.value - self.information.value

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        lists = {name: getattr(self, name) for name in ("kl_per_dimension", "kl_per_layer", "mean_variance")}
        return {
            "kl": self.kl.to_json(),
            **{name: None if values is None else values.tolist() for name, values in lists.items()},
            "num_active": self.num_active,
            "information": self.information.to_json(),
            "ceiling": self.ceiling,
            "num_data": self.num_data,
        }

    def __str__(self) -> str:
        lines = [
            f"use of the latents (nats per datum; {self.num_data} rows)",
            columns(
                [
                    ("KL(q ‖ p)", str(self.kl)),
                    ("I_q(x; z)", f"{self.information} of at most {self.ceiling:.3f}"),
                    ("KL(q(z) ‖ p(z))", number(self.marginal_kl)),
                ]
            ),
        ]
        if self.active is not None:
            lines.append(f"{self.num_active} of {len(self.active)} units active")
        if self.kl_per_layer is not None:
            each = " ".join(f"{kl:.2f}" for kl in self.kl_per_layer)
            lines.append(f"KL by layer, the top first: {each}")
        if self.kl_per_dimension is not None:
            order = np.argsort(-self.kl_per_dimension)
            lines.append(
                "KL by dimension: " + " ".join(f"{i}:{self.kl_per_dimension[i]:.2f}" for i in order[:12])
            )
        return "\n".join(lines)


def collapse(inference: Inference | Fitted, x: Any, *, key: PRNGKey, rows: int | None = 1000) -> Collapse:
    """Say whether q uses the latents.

    Args:
        inference: The fitted choices, or what ``fit.*`` returned; the model must know its prior.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness.
        rows: Look at this many rows, chosen at random; ``None`` for all. The information needs many: it
            cannot exceed log N, or the entropy of the row weights.

    Returns:
        The measurements; print them for a table.

    Raises:
        InputError: If the model has no prior, q no density, or one z is behind all data.

    References:
        Burda, Grosse & Salakhutdinov 2016 (active units); Hoffman & Johnson 2016, ELBO surgery (information).
    """
    inference = inference_of(inference)
    model, posterior = inference.bound_model(), inference.posterior
    name = type(inference.model).__name__
    if not isinstance(model, AbstractLatentModel):
        raise InputError(f"collapse: {name} does not separate its prior, so there is no KL(q ‖ p) to measure")
    if not issubclass(posterior.law(inference.model), AbstractDensity):
        raise InputError(f"collapse: q of {type(posterior).__name__} has no density")
    if isinstance(posterior, SharesLatent):
        raise InputError("collapse: one z is behind all data, so it carries no information on single rows")
    check_key(key)
    to_rows, to_run = jax.random.split(key)
    inference, chosen = look(inference, x, rows, key=to_rows)
    model, posterior = inference.bound_model(), inference.posterior
    n = count(chosen)
    weight = weight_of(chosen)
    share = np.full(n, 1 / n) if weight is None else np.asarray(weight, np.float64) / np.sum(weight)
    measured = _measure(model, posterior, chosen, jnp.asarray(share), jax.random.split(to_run, n))
    seen = jax.tree.map(np.asarray, measured)
    per_dimension, per_layer = seen["kl_per_dimension"], seen["kl_per_layer"]
    return Collapse(
        kl=Estimate.mean(seen["kl"], weight),
        kl_per_dimension=None if per_dimension is None else np.average(per_dimension, axis=0, weights=weight),
        mean_variance=None if seen["mean"] is None else _variance(seen["mean"], weight),
        information=Estimate.mean(seen["information"], weight),
        ceiling=float(-np.sum(share * np.log(np.where(share > 0, share, 1.0)))),
        num_data=n,
        kl_per_layer=None if per_layer is None else np.average(per_layer, axis=0, weights=weight),
    )


@eqx.filter_jit
def _measure(model: Any, posterior: Any, rows: Datum, share: Any, keys: Any) -> dict[str, Any]:
    rows = jax.tree.map(jnp.asarray, rows)

    def infer(datum: Datum, key: Any) -> Any:
        return posterior(model, datum, key=key)

    # what a law took over from model and posterior as it was is held once, not once a row
    template = infer(jax.tree.map(lambda leaf: leaf[0], rows), keys[0])
    held = {id(leaf) for leaf in jax.tree.leaves((model, posterior))}
    own = jax.tree.map(lambda leaf: eqx.is_array(leaf) and id(leaf) not in held, template)
    common = eqx.filter(template, own, inverse=True)
    laws = jax.vmap(lambda datum, key: eqx.filter(infer(datum, key), own))(rows, keys)

    def per_dimension(q: Any, datum: Datum, terms: Any) -> Any:
        # the prior of a carry model needs a path before it can be written down
        prior = None if isinstance(model, AbstractCarryModel) else model.prior_of(datum.cond)
        if isinstance(q, DiagGaussian) and isinstance(prior, DiagGaussian):
            return kl_per_dimension(q, prior)
        if isinstance(q, TopDownGaussian) and isinstance(prior, TopDownGaussian):
            pairs = zip(q.laws(terms.z), prior.laws(terms.z), strict=True)
            return jnp.concatenate([kl_per_dimension(a, b) for a, b in pairs])
        return terms.kl

    def one(both: Any) -> dict[str, Any]:
        datum, law, key = both
        q = eqx.combine(law, common)
        terms = score(model, q, draw(q, key=jax.random.fold_in(key, 1)), datum)
        total = (terms.log_ratio if terms.kl is None else terms.kl).sum()
        aggregate = jax.vmap(lambda law: eqx.combine(law, common).log_prob(terms.z).sum())(laws)
        mixture = jax.scipy.special.logsumexp(aggregate, b=share)
        return {
            "kl": total,
            "kl_per_dimension": per_dimension(q, datum, terms),
            "kl_per_layer": (
                (terms.log_ratio if terms.kl is None else terms.kl)
                if isinstance(q, AbstractLayered)
                else None
            ),
            "mean": _means(q, key),
            "information": terms.log_q.sum() - mixture,
        }

    return jax.lax.map(one, (rows, laws, keys), batch_size=min(32, len(keys)))


def _means(q: Any, key: PRNGKey) -> Any:
    """Return E_q[z] twice, (2, d): where it is an average over draws, two independent ones."""
    if isinstance(q, AbstractMoments):
        return jnp.stack([q.mean, q.mean])
    if not isinstance(q, AbstractLayered):
        return None

    def average(key: PRNGKey) -> Any:
        keys = jax.random.split(key, DRAWS)
        return jax.vmap(lambda k: q.means(q.sample_and_log_prob(key=k)[0]))(keys).mean(0)

    return jnp.stack([average(jax.random.fold_in(key, half)) for half in (2, 3)])


def _variance(means: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the variance over rows of means given twice, (N, 2, ...): their covariance adds no noise."""
    means = means.astype(np.float64)
    off = means - np.average(means, axis=0, weights=weight)
    return np.average(off[:, 0] * off[:, 1], axis=0, weights=weight)
