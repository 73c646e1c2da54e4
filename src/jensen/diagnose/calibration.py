"""Simulation-based calibration: is q(z|x) the posterior, on data the model itself makes?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.uniformity import ecdf_counts, uniformity
from jensen.core import (
    AbstractLatentModel,
    ChecksData,
    Datum,
    HasCondition,
    IndexesData,
    Inference,
    SharesLatent,
    Simulates,
)
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import count, inference_of, look, per_row
from jensen.diagnose.table import columns
from jensen.dist import Empty, draw
from jensen.errors import InputError, check_key
from jensen.fit import Fitted
from jensen.fit.enter import centred
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, Bool, Float, Int, PRNGKey

BLOCK = 100
"""Simulations in one compiled call."""

WHOLE = ("log p(x|z)", "log p(x, z)")
"""What is ranked besides the entries of z."""

SHOWN = 12
"""Most quantities that a printed table lists, the least uniform first."""


@dataclass(frozen=True)
class Calibration:
    """Ranks of what generated the data among draws from q; of an exact q they are uniform on 0..``draws``.

    Attributes:
        names: The quantities ranked: every entry of z, ``log p(x|z)`` and ``log p(x, z)``.
        ranks: (simulations, quantities).
        p_values: Of uniformity, one per quantity.
        lower: Lower side of the simultaneous band for ``difference`` of one quantity.
        upper: Its upper side.
        draws: Draws from q per simulation.
        level: Chance that an exact q does not pass.
    """

    names: tuple[str, ...]
    ranks: Int[np.ndarray, "n q"]
    p_values: Float[np.ndarray, "q"]
    lower: Float[np.ndarray, "l"]
    upper: Float[np.ndarray, "l"]
    draws: int
    level: float

    @property
    def failed(self) -> tuple[str, ...]:
        """The quantities whose ranks are not uniform, allowing for how many were looked at (Bonferroni)."""
        bar = self.level / len(self.names)
        return tuple(name for name, p in zip(self.names, self.p_values, strict=True) if p < bar)

    @property
    def passed(self) -> bool:
        """Whether no quantity failed."""
        return not self.failed

    def difference(self, name: str) -> Float[np.ndarray, "l"]:
        """Return ECDF(u) − u of one quantity's ranks at u = 1/(L+1), …, L/(L+1).

        Raises:
            InputError: If nothing of that name was ranked.
        """
        if name not in self.names:
            raise InputError(f"calibration: {name!r} was not ranked; choose from {', '.join(self.names)}")
        counts = ecdf_counts(self.ranks[:, self.names.index(name)], self.draws)
        return counts / len(self.ranks) - np.arange(1, self.draws + 1) / (self.draws + 1)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict and the p-values."""
        return {
            "passed": self.passed,
            "p_values": dict(zip(self.names, self.p_values.tolist(), strict=True)),
            "failed": list(self.failed),
            "simulations": len(self.ranks),
            "draws": self.draws,
            "level": self.level,
        }

    def __str__(self) -> str:
        order = np.argsort(self.p_values, kind="stable")[:SHOWN]
        failed = set(self.failed)
        rows = [("quantity", "p", "mean rank", "ranks")]
        for i in order:
            place = (self.ranks[:, i] + 0.5) / (self.draws + 1)
            what = _shape(place) if self.names[i] in failed else "uniform"
            rows.append((self.names[i], f"{self.p_values[i]:.4f}", f"{place.mean():.3f}", what))
        verdict = f"{len(failed)} of {len(self.names)} fail" if failed else "passed"
        head = (
            f"calibration: {verdict} ({len(self.ranks)} simulations, {self.draws} draws of q each, "
            f"level {self.level:g})"
        )
        more = len(self.names) - len(order)
        return "\n".join([head, columns(rows), *([f"and {more} more, with larger p"] if more else [])])


def calibration(
    inference: Inference | Fitted,
    x: Any = None,
    *,
    key: PRNGKey,
    simulations: int = 500,
    draws: int = 99,
    level: float = 0.01,
    progress: Progress | None = None,
) -> Calibration:
    """Rank the latents that made simulated data among draws from q(z|x).

    (z, x) ~ p(z, x) and z_1, …, z_L ~ q(z|x): if q is the posterior, the rank of f(z, x) among f(z_l, x) is
    uniform for every f. The entries of z alone are not enough: a q that ignores x, q = p(z), passes them. So
    log p(x|z) and log p(x, z) are ranked too; the second sees the spread in every dimension at once.
    Ties, as of discrete z, are broken by chance. Says nothing about data the model would not make.

    Args:
        inference: The choices, fitted or not, or what ``fit.*`` returned.
        x: Rows that lend their conditions, missing entries and lengths, over and over; needed by models of
            sequences and conditional ones. Their numbers are not looked at.
        key: Randomness.
        simulations: N.
        draws: L, draws from q for each.
        level: Chance that an exact q does not pass.
        progress: Told of the progress; by default a bar if standard error is a terminal.

    Returns:
        The ranks and the verdict; print it for a table.

    Raises:
        InputError: If the model cannot be simulated, has no latent, or q cannot speak of new data.

    References:
        Talts et al. 2018, Validating Bayesian inference algorithms with simulation-based calibration;
        Modrák et al. 2023 (ranking the likelihood); Säilynoja, Bürkner & Vehtari 2022 (bands).

    Example:
        >>> import jax, jensen as jn
        >>> from jensen import diagnose
        >>> model = jn.models.ProbabilisticPCA(3, 1, key=jax.random.key(0))
        >>> exact = jn.Inference(
        ...     model, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> diagnose.calibration(exact, key=jax.random.key(1), simulations=100).passed
        True
    """
    inference = inference_of(inference)
    check_key(key)
    if simulations < 20 or draws < 9 or not 0 < level < 1:
        raise InputError(
            f"calibration: simulations={simulations}, draws={draws}, level={level}; "
            "at least 20 and 9, and a level between 0 and 1"
        )
    to_rows, to_run, to_test = jax.random.split(key, 3)
    inference, like = _like(inference, x, key=to_rows)
    model, posterior = inference.bound_model(), inference.posterior
    if posterior.law(inference.model) is Empty:
        raise InputError(f"calibration: {type(model).__name__} has no latent to rank")
    chosen = np.arange(simulations) % count(like)
    like = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], like)
    with shown(progress) as bar:
        ranks = per_row(
            lambda rows, keys: _ranks(model, posterior, draws, rows, keys),
            like,
            key=to_run,
            progress=bar,
            label="calibration",
            block=BLOCK,
        )
    whole = [name for name in WHOLE if name in ranks]
    names = (*(f"z[{i}]" for i in range(ranks["z"].shape[1])), *whole)
    table = np.column_stack([ranks["z"], *(ranks[name] for name in whole)])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(to_test)))
    test = uniformity(table, draws, level, rng=rng)
    return Calibration(names, table, *test, draws=draws, level=level)


def _like(inference: Inference, x: Any, *, key: PRNGKey) -> tuple[Inference, Datum]:
    """Return what simulated data look like, and the inference about the origin of its frame."""
    model, posterior = inference.model, inference.posterior
    name = type(model).__name__
    if not isinstance(model, Simulates):
        raise InputError(f"calibration: {name} has no simulate(); ranks need data drawn from the model")
    if isinstance(posterior, SharesLatent | IndexesData):
        raise InputError(
            f"calibration: {type(posterior).__name__} has no q for data it was not fitted to; "
            "use Amortized, Filtering, Smoothing or Exact"
        )
    if x is not None:
        return look(inference, x, None, key=key)
    if is_stepwise(model) or isinstance(model, HasCondition):
        lends = "lengths" if is_stepwise(model) else "conditions"
        raise InputError(f"calibration: {name} needs x=, rows that lend their {lends}")
    width = model.data_dim if isinstance(model, ChecksData) else None
    if width is None:
        raise InputError(f"calibration: {name} does not say how long a row is; pass x=, rows of that shape")
    return centred(inference, Datum(np.zeros((1, width), np.dtype(jnp.result_type(float)))))


@eqx.filter_jit
def _ranks(model: Any, posterior: Any, num: int, rows: Datum, keys: Any) -> dict[str, Array]:
    def one(like: Datum, key: Array) -> dict[str, Array]:
        to_data, to_q, to_draws, to_ties = jax.random.split(key, 4)
        truth, x = model.simulate(like, key=to_data)
        datum = eqx.tree_at(lambda d: d.x, like, x)
        q = posterior(model, datum, key=to_q)

        def drawn(key: Array) -> dict[str, Array]:
            return _quantities(model, draw(q, key=key).z, datum)

        own = _quantities(model, truth, datum)
        others = jax.lax.map(drawn, jax.random.split(to_draws, num), batch_size=min(num, 50))
        return {
            name: _rank(own[name], others[name], key=jax.random.fold_in(to_ties, i))
            for i, name in enumerate(own)
        }

    return jax.vmap(one)(rows, keys)


def _quantities(model: Any, z: Any, datum: Datum) -> dict[str, Array]:
    """Return what is ranked, ``z`` flat and first."""
    real = _real(datum)

    def flat(leaf: Array) -> Array:
        # what stands at padded steps is no latent: made equal, it ranks by chance
        if real is not None and leaf.shape[:1] == real.shape:
            leaf = jnp.where(real.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0)
        return jnp.ravel(leaf).astype(jnp.result_type(float))

    entries = jnp.concatenate([flat(leaf) for leaf in jax.tree.leaves(z)])
    likelihood, joint = WHOLE
    seen = {likelihood: model.log_likelihood(z, datum)} if isinstance(model, AbstractLatentModel) else {}
    return {"z": entries, **seen, joint: model.log_joint(z, datum)}


def _real(datum: Datum) -> Bool[Array, "t"] | None:
    if datum.steps is None:
        return None
    return jnp.arange(datum.x.shape[0]) < datum.steps


def _rank(own: Float[Array, "*s"], others: Float[Array, "l *s"], *, key: PRNGKey) -> Int[Array, "*s"]:
    """Return how many of ``others`` lie below ``own``; of those equal to it, a number picked at random."""
    below, same = (others < own).sum(0), (others == own).sum(0)
    return below + jnp.floor(jax.random.uniform(key, own.shape) * (same + 1)).astype(below.dtype)


def _shape(place: Float[np.ndarray, "n"]) -> str:
    """Say in words how places between 0 and 1 depart from uniform."""
    n = len(place)
    shift = (place.mean() - 0.5) * np.sqrt(12 * n)
    spread = (place.var() - 1 / 12) / np.sqrt(1 / (180 * n))
    if abs(shift) >= abs(spread):
        return "too high: q lies below" if shift > 0 else "too low: q lies above"
    return "at both ends: q too narrow" if spread > 0 else "in the middle: q too wide"
