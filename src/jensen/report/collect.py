"""The numbers a report shows, computed from the fitted inference and its data.

Everything runs once, operation by operation: compiling it would take longer than running it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jensen import dist
from jensen.core import (
    AbstractLatentModel,
    Datum,
    HasCondition,
    HasObservation,
    IndexesData,
    Inference,
    SharesLatent,
    Simulates,
)
from jensen.datasets import Dataset
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import PRNGKey

MAX_ROWS = 2000
LAYERED_DRAWS = 16
SHOWN = 32
Kind = Literal["continuous", "discrete", "binary"]


@dataclass(frozen=True)
class LatentSpace:
    """What kind of vector z is, as a network reads it.

    Attributes:
        kind: Real numbers, one-hot blocks, or zeros and ones.
        dim: Length of z as a vector.
        blocks: Number of one-hot blocks; 1 otherwise.
        center: Prior mean (D,) for real z.
        scale: Prior standard deviation (D,) for real z.
        integer: Whether the model itself takes a category's number rather than its one-hot vector.
    """

    kind: Kind
    dim: int
    blocks: int
    center: np.ndarray
    scale: np.ndarray
    integer: bool = False

    @property
    def categories(self) -> int:
        """Categories of one block."""
        return self.dim // self.blocks

    def to_model(self, z: Any) -> Any:
        """Turn a feature vector into what the model takes."""
        return jnp.argmax(z, -1) if self.integer else z


@dataclass(frozen=True)
class View:
    """Arrays for the pictures; ``None`` where the model has no such thing.

    Attributes:
        data: The data shown; hidden cells hold NaN and are left out of every picture and range.
        space: The latent space.
        means: Posterior means, or probabilities of categories, (N, latent).
        reconstructions: E[x | z] at the posterior's mean or most probable z, first rows, (R, D).
        samples: New rows from the model, (S, D).
        sample_means: E[x | z] for those rows, (S, D).
    """

    data: Dataset | None
    space: LatentSpace | None
    means: np.ndarray | None = None
    reconstructions: np.ndarray | None = None
    samples: np.ndarray | None = None
    sample_means: np.ndarray | None = None

    @property
    def value_range(self) -> tuple[float, float]:
        """Values drawn black and white: 0 to 1 for intensities, otherwise the data's own range."""
        if self.data is None:
            return 0.0, 1.0
        seen = self.data.x[np.isfinite(self.data.x)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def hidden(data: Dataset) -> np.ndarray:
    """Return True where a cell is missing, (N, D): by the mask, or because it holds no number."""
    empty = np.isnan(data.x) if data.x.dtype.kind == "f" else np.zeros(data.x.shape, bool)
    return empty if data.mask is None else empty | ~data.mask


def blanked(data: Dataset) -> Dataset:
    """Return the data with NaN in every hidden cell, whatever stood there, so that nothing can draw it."""
    gone = hidden(data)
    x = np.where(gone, np.nan, data.x.astype(np.float64))
    mask = ~gone if gone.any() else None
    return Dataset(x, data.labels, data.columns, data.name, data.image_shape, mask)


def thin(data: Dataset, limit: int = MAX_ROWS) -> Dataset:
    """Keep evenly spaced rows, at most ``limit``."""
    n = len(data.x)
    if n <= limit:
        return data
    keep = np.linspace(0, n - 1, limit).astype(int)
    labels = None if data.labels is None else data.labels[keep]
    mask = None if data.mask is None else data.mask[keep]
    return Dataset(data.x[keep], labels, data.columns, data.name, data.image_shape, mask)


def latent_space(model: Any) -> LatentSpace | None:
    """Describe the latents; ``None`` where there are none, they need a condition, or no slider fits."""
    if not isinstance(model, AbstractLatentModel) or isinstance(model, HasCondition):
        return None
    prior = model.prior_of(None)
    none = np.zeros(0)
    if isinstance(prior, dist.Empty):
        return None
    if isinstance(prior, dist.Categorical):
        return LatentSpace("discrete", prior.support_size, 1, none, none, integer=True)
    if isinstance(prior, dist.OneHot):
        v, k = prior.logits.shape
        return LatentSpace("discrete", v * k, v, none, none)
    if isinstance(prior, dist.Bernoulli):
        return LatentSpace("binary", prior.logits.shape[-1], 1, none, none)
    if isinstance(prior, dist.AbstractLayered):
        keys = jax.random.split(jax.random.key(0), MAX_ROWS)
        z = np.asarray(jax.vmap(lambda k: prior.sample_and_log_prob(key=k)[0])(keys), np.float64)
        return LatentSpace("continuous", z.shape[1], 1, z.mean(0), z.std(0))
    if isinstance(prior, dist.AbstractMoments):
        center = np.asarray(prior.mean, np.float64)
        if center.ndim != 1 or center.size == 0:
            return None
        return LatentSpace(
            "continuous", center.size, 1, center, np.sqrt(np.asarray(prior.variance, np.float64))
        )
    return None


def decoded(model: Any, space: LatentSpace, z: np.ndarray) -> np.ndarray | None:
    """Return E[x | z] for feature vectors z, (N, latent), as (N, D); ``None`` if the model cannot say.

    For categories coded 0..K−1 the expected code is returned.
    """
    if not isinstance(model, HasObservation):
        return None

    def one(row: Any) -> Any:
        law = model.likelihood(space.to_model(row), None)
        mean = law.mean
        if isinstance(law, dist.CategoricalRow):
            return mean @ jnp.arange(mean.shape[-1], dtype=mean.dtype)
        return mean

    return np.asarray(jax.vmap(one)(jnp.asarray(z, jnp.float32)))


def posterior_means(inference: Inference, data: Dataset, *, key: PRNGKey) -> np.ndarray | None:
    """Return the means (or category probabilities) of q(z | x) row by row, (N, latent)."""
    posterior, n = inference.posterior, len(data.x)
    if isinstance(posterior, SharesLatent):
        return None
    if isinstance(posterior, IndexesData) and posterior.num_data != n:
        return None  # its rows are the training rows; these are others
    model = inference.bound_model()

    def one(datum: Datum, k: PRNGKey) -> Any:
        q = posterior(model, datum, key=k)
        if isinstance(q, dist.Categorical):
            return q.probs
        if isinstance(q, dist.AbstractLayered):
            z = jax.vmap(lambda k: q.sample_and_log_prob(key=k)[0])(jax.random.split(k, LAYERED_DRAWS))
            return jax.vmap(q.means)(z).mean(0)
        return q.mean if isinstance(q, dist.AbstractMoments) else jnp.zeros(0)

    gone = hidden(data)
    x = jnp.asarray(np.where(gone, 0, data.x), jnp.float32)  # as in training: no NaN reaches a network
    rows = Datum(x, index=jnp.arange(n), mask=jnp.asarray(~gone) if gone.any() else None)
    means = np.asarray(jax.vmap(one)(rows, jax.random.split(key, n)))
    return means if means.ndim == 2 and means.shape[1] else None


def settle(space: LatentSpace, means: np.ndarray) -> np.ndarray:
    """Return the z to decode for given posterior means: the mean itself, or the most probable categories."""
    if space.kind == "continuous":
        return means
    if space.kind == "binary":
        return (means > 0.5).astype(np.float32)
    blocks = means.reshape(len(means), space.blocks, space.categories)
    return np.eye(space.categories, dtype=np.float32)[blocks.argmax(-1)].reshape(len(means), -1)


def simulated(model: Any, count: int, *, key: PRNGKey) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Draw rows from the model: the rows, and their means given z where the model has them."""
    if not isinstance(model, Simulates):
        return None, None
    z, x = jax.vmap(lambda k: model.simulate(key=k))(jax.random.split(key, count))
    space = latent_space(model)
    if space is None or not isinstance(model, HasObservation):
        return np.asarray(x), None
    features = jax.nn.one_hot(z, space.dim) if space.integer else z
    return np.asarray(x), decoded(model, space, np.asarray(features))


def collect(inference: Inference, data: Dataset | None, *, key: PRNGKey) -> View:
    """Compute everything the pictures need."""
    to_means, to_samples = jax.random.split(key)
    model = inference.bound_model()
    if is_stepwise(model) or isinstance(model, HasCondition):
        return View(None, None)  # paths over time, or laws that depend on x: they have sections of their own
    space = latent_space(model)
    count = 500 if data is None or data.image_shape is None else 64
    samples, sample_means = simulated(model, count, key=to_samples)
    if data is None:
        return View(None, space, samples=samples, sample_means=sample_means)
    whole = isinstance(inference.posterior, IndexesData)
    data = blanked(data if whole else thin(data))
    means = None if space is None else posterior_means(inference, data, key=to_means)
    rebuilt = None
    if space is not None and means is not None and means.shape[1] == space.dim:
        rebuilt = decoded(model, space, settle(space, means[:SHOWN]))
    return View(data, space, means, rebuilt, samples, sample_means)
