"""Signal and noise of the gradient, with the minibatch's share and the draws' share apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasBatchTerm, Inference, SharesLatent
from jensen.diagnose.rows import count, inference_of, look
from jensen.diagnose.table import columns
from jensen.errors import InputError, check_key
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.nets.fixed import trainable
from jensen.typing import PRNGKey


class Group(NamedTuple):
    """One group of parameters. Numbers are sums over its parameters, for the mean loss of a batch.

    Attributes:
        name: Path of the group in the inference.
        size: Number of parameters.
        signal: ‖E g‖².
        minibatch: Variance that comes from which data were picked.
        monte_carlo: Variance that comes from the draws of z.
    """

    name: str
    size: int
    signal: float
    minibatch: float
    monte_carlo: float

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio ‖E g‖ / √(total variance); infinite without noise."""
        noise = self.minibatch + self.monte_carlo
        return float(np.sqrt(self.signal / noise)) if noise > 0 else float("inf")


@dataclass(frozen=True)
class GradientNoise:
    """Signal and noise of a minibatch gradient, group by group.

    Attributes:
        groups: The groups of parameters.
        batch_size: Data per step.
        num_data: Rows the moments were estimated from.
    """

    groups: tuple[Group, ...]
    batch_size: int
    num_data: int

    def __getitem__(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)

    def __str__(self) -> str:
        head = ("parameters", "number", "‖E g‖", "SNR", "sd, minibatch", "sd, draws")
        rows = [
            (
                g.name,
                str(g.size),
                f"{g.signal**0.5:.3g}",
                f"{g.snr:.3g}",
                f"{g.minibatch**0.5:.3g}",
                f"{g.monte_carlo**0.5:.3g}",
            )
            for g in self.groups
        ]
        title = f"gradient of a batch of {self.batch_size} (from {self.num_data} rows)"
        return "\n".join([title, columns([head, *rows])])


def gradient_noise(
    inference: Inference | Fitted,
    x: Any,
    *,
    key: PRNGKey,
    batch_size: int = 128,
    rows: int | None = 500,
    repeats: int = 4,
    depth: int = 2,
) -> GradientNoise:
    """Measure the gradient's signal-to-noise ratio.

    By the law of total variance, for B of N data picked without replacement and z drawn anew for each,

        Var(g) = (1/B) [ (1 − B/N) · S²_x(E[g | x]) + E_x Var(g | x) ],

    S² being the sample variance over the N rows.

    Args:
        inference: The choices, at the parameters of interest, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness.
        batch_size: B.
        rows: Estimate the moments from this many rows, chosen at random; ``None`` for all.
        repeats: Independent gradients per row, at least 2.
        depth: Steps of a parameter's path that name its group.

    Returns:
        The groups; print them for a table.

    Raises:
        InputError: On fewer than 2 rows or repeats, a batch larger than the data, or where a datum has no
            gradient alone: an objective with a term across data, one z shared by all of them.
    """
    inference, data = inference_of(inference), Data.of(x)
    if repeats < 2 or (rows is not None and rows < 2) or data.num_data < 2:
        raise InputError(
            "gradient_noise needs at least 2 rows and 2 repeats: a variance is estimated from each"
        )
    if not 1 <= batch_size <= data.num_data:
        raise InputError(f"batch_size is {batch_size}; it must lie between 1 and the {data.num_data} rows")
    if isinstance(inference.objective, HasBatchTerm) and inference.objective.couples_data:
        raise InputError(
            "gradient_noise: the objective has a term across data, a datum has no gradient alone"
        )
    if isinstance(inference.posterior, SharesLatent):
        raise InputError(
            "gradient_noise: one z is drawn for a whole batch, a datum has no gradient alone; "
            "use a posterior with a z per datum"
        )
    check_key(key)
    to_rows, to_run = jax.random.split(key)
    inference, chosen = look(inference, data, rows, key=to_rows)
    n = count(chosen)
    keys = jax.random.split(to_run, (n, repeats))
    means, squares, within = _moments(inference, chosen, keys, data.num_data)
    picked, unseen = 1 - batch_size / data.num_data, 1 - n / data.num_data
    totals: dict[str, list[float]] = {}
    leaves = zip(*(jax.tree_util.tree_leaves_with_path(t) for t in (means, squares, within)), strict=True)
    for (path, mean), (_, square), (_, inside) in leaves:
        mean, square, inside = (np.asarray(a, np.float64) / n for a in (mean, square, inside))
        between = (square - mean**2) * n / (n - 1)  # of the averages over repeats
        data_part = between - inside / repeats
        signal = mean**2 - (unseen * data_part + inside / repeats) / n
        row = totals.setdefault(_name(path, depth), [0.0, 0.0, 0.0, 0.0])
        for i, part in enumerate((mean.size, signal.sum(), data_part.sum() * picked, inside.sum())):
            row[i] += float(part)
    groups = tuple(
        Group(name, int(size), max(signal, 0.0), max(minibatch, 0.0) / batch_size, draws / batch_size)
        for name, (size, signal, minibatch, draws) in totals.items()
    )
    return GradientNoise(groups, batch_size, n)


def _name(path: Any, depth: int) -> str:
    return ".".join(str(entry).lstrip(".") for entry in path[:depth])


@eqx.filter_jit
def _moments(inference: Any, rows: Datum, keys: Any, num_data: int) -> Any:
    """Return the sums over rows of the mean gradient, its square, and the variance within a row."""
    moving, still = eqx.partition(inference, trainable(inference))

    def loss(moving: Any, datum: Datum, key: Any) -> Any:
        whole = eqx.combine(moving, still)
        state = whole.gradient.init(whole)
        step = jnp.zeros((), jnp.int32)
        out = whole.gradient(whole, datum, key=key, step=step, num_data=num_data, state=state)
        return out.surrogate if datum.weight is None else out.surrogate * datum.weight

    def row(carry: Any, both: Any) -> tuple[Any, None]:
        datum, keys = both
        grads = jax.vmap(lambda key: jax.grad(loss)(moving, datum, key))(keys)
        mean = jax.tree.map(lambda g: g.mean(0), grads)
        parts = (mean, jax.tree.map(jnp.square, mean), jax.tree.map(lambda g: g.var(0, ddof=1), grads))
        return jax.tree.map(jnp.add, carry, parts), None

    zero = jax.tree.map(jnp.zeros_like, (moving, moving, moving))
    return jax.lax.scan(row, zero, (jax.tree.map(jnp.asarray, rows), keys))[0]
