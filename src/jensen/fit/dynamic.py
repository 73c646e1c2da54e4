"""Batches of bits drawn anew from intensities each time a row is seen."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.errors import InputError
from jensen.fit.data import Data
from jensen.fit.plans import AbstractBatches, AbstractPlan, SomeRows
from jensen.typing import Array, Int, PRNGKey


@final
@dataclass(frozen=True)
class DynamicBinarization(AbstractBatches):
    """Batches of bits, each drawn with its intensity in [0, 1] every time its row is seen.

    What is climbed is the mean over draws, E_{b ~ Bernoulli(x)} L(b): a model of the bits that cannot learn
    one draw of the training set by heart. Its numbers compare with others under dynamic binarization only.
    Validation and test rows are bits, drawn once (``datasets.binarize(x, "sample", seed=...)``).

    Raises:
        InputError: If x is not rows of intensities, or an entry is masked.

    References:
        Burda, Grosse & Salakhutdinov 2016, section 5.

    Example:
        >>> import jax, numpy as np, optax, jensen as jn
        >>> x = np.random.default_rng(0).uniform(size=(100, 4))
        >>> vae = jn.models.Decoder(4, 2, likelihood="bernoulli", widths=(8,), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(
        ...     jn.families.DiagGaussian(2), data_dim=4, widths=(8,), key=jax.random.key(1))
        >>> fitted = jn.fit.gradient(
        ...     jn.Inference(vae, q, jn.objectives.ELBO(), jn.gradients.Reparam()), x, key=jax.random.key(2),
        ...     optimizer=optax.adam(1e-3), epochs=2, batch_size=50, batches=DynamicBinarization())
        >>> len(fitted.history.bound)
        4
    """

    def plan(self, data: Data, batch_size: int | None) -> FreshBits:
        """Return the plan for a data set.

        Raises:
            InputError: If the data are not intensities.
        """
        x = np.asarray(data.x)
        if x.ndim != 2 or data.mask is not None:
            what = "some entries are missing" if x.ndim == 2 else f"got shape {x.shape}"
            raise InputError(f"DynamicBinarization takes complete rows (N, D) of intensities; {what}")
        if x.min() < 0 or x.max() > 1:
            raise InputError(
                f"DynamicBinarization: values from {x.min():g} to {x.max():g}; intensities lie in [0, 1] "
                "(divide bytes by 255)"
            )
        size = data.num_data if batch_size is None else batch_size
        if not 1 <= size <= data.num_data:
            raise InputError(f"batch_size is {size}; it must lie between 1 and the {data.num_data} rows")
        return FreshBits(size)

    def seen(self, data: Data) -> Data:
        """Return the data as the model may see them: the likelier bits."""
        return _with_bits(data, np.asarray(data.x) > 0.5)

    def drawn(self, data: Data, *, key: PRNGKey) -> Data:
        """Return the data with their bits drawn once, to be scored on."""
        return _with_bits(data, np.asarray(jax.random.uniform(key, data.x.shape)) < data.x)


def _with_bits(data: Data, bits: np.ndarray) -> Data:
    other = copy.copy(data)
    other.x = bits.astype(np.float32)
    return other


@dataclass(frozen=True)
class FreshBits(AbstractPlan):
    """``size`` rows in every batch, drawn without replacement, their bits drawn anew."""

    size: int

    def steps_per_epoch(self, rows: Datum) -> int:
        """⌊N / size⌋."""
        return self._rows.steps_per_epoch(rows)

    def work(self, rows: Datum) -> int:
        """As many rows as a batch has."""
        return self._rows.work(rows)

    def order(self, rows: Datum, *, key: PRNGKey) -> tuple[Int[Array, "rows"], PRNGKey]:
        """Shuffle the rows, and keep a key for the bits of the epoch."""
        to_rows, to_bits = jax.random.split(key)
        return self._rows.order(rows, key=to_rows), to_bits

    def pick(
        self, rows: Datum, order: tuple[Int[Array, "rows"], PRNGKey], place: Int[Array, ""], shape: int
    ) -> Datum:
        """Take the next ``size`` of the shuffled rows and draw their bits."""
        batch = self._rows.pick(rows, order[0], place, shape)
        uniform = jax.random.uniform(jax.random.fold_in(order[1], place), batch.x.shape, batch.x.dtype)
        return eqx.tree_at(lambda d: d.x, batch, jnp.where(uniform < batch.x, 1.0, 0.0).astype(batch.x.dtype))

    @property
    def _rows(self) -> SomeRows:
        return SomeRows(self.size)
