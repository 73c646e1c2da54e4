"""How batches are made: windows of long sequences, sequences of like length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from jensen.core import IndexesData, Inference
from jensen.dist import AbstractRecurrentPath
from jensen.errors import InputError
from jensen.fit.data import Data
from jensen.fit.lanes import Lanes, check_carried
from jensen.fit.plans import AbstractBatches, AbstractPlan, AllRows, LikeLengths, SomeRows, SomeWindows
from jensen.gradients import Analytic
from jensen.models.sequence.recurrent import AbstractRecurrentModel
from jensen.objectives import FIVO


@final
@dataclass(frozen=True)
class Windows(AbstractBatches):
    """Batches of windows of long sequences, drawn over all their real steps.

    A window may lie anywhere over a sequence, also over its ends, where it is cut: so every real step has the
    same chance of being drawn. In an epoch windows lie end to end from a place drawn at random, and every
    step is drawn once (but for the windows of the last batch, if it is not full). ``batch_size`` counts
    windows. The loss is scaled by (places of a window)/(length · sequences), so that the bound reported stays
    in nats per sequence; its noise is that of ``batch_size`` windows.

    A window is taken for a sequence of its own, and that is the bias: a posterior sees nothing beyond it, and
    without a burn-in its first z follows p(z_1), which then is fitted to the places where windows begin. With
    ``burn_in=k``, up to k steps before a window are inferred too, not scored, and held constant: the first z
    that is scored follows p(z_t | z_{t−1}), and p(z_1) is trained where sequences begin. For exact models the
    score is log p(window | burn-in). Validation is on whole sequences. An RSSM's state starts at zero at the
    first step of a window, burn-in included.

    Args:
        length: Scored steps of a window.
        burn_in: Most steps before it that are inferred only.

    Raises:
        InputError: If a number is out of range.

    Example:
        >>> import jax, numpy as np, optax, jensen as jn
        >>> x = np.random.default_rng(0).normal(size=(2, 300, 3))
        >>> dmm = jn.models.NeuralStateSpace(3, 2, decoder=(8,), width=8, key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=dmm, widths=(8,), key=jax.random.key(1))
        >>> fitted = jn.fit.gradient(
        ...     jn.Inference(dmm, q, jn.objectives.ELBO(), jn.gradients.Reparam()),
        ...     x, key=jax.random.key(2), optimizer=optax.adam(1e-3), epochs=2, batch_size=4,
        ...     batches=Windows(50, burn_in=5))
        >>> len(fitted.history.bound)
        6
    """

    length: int
    burn_in: int = 0

    def __post_init__(self):
        if self.length < 1 or self.burn_in < 0:
            raise InputError(
                f"Windows: length={self.length}, burn_in={self.burn_in}; they must be at least 1 and 0"
            )

    def plan(self, data: Data, batch_size: int | None) -> AbstractPlan:
        """Return the plan for a data set.

        Raises:
            InputError: If the data are not sequences, or shorter than a window, or a batch is larger than an
                epoch.
        """
        size = _windows("Windows", self.length, data, batch_size)
        plan = SomeWindows(size, self.length, self.burn_in)
        _check_epoch(size, int(plan.positions(data.rows()).sum() // self.length))
        return plan


@final
@dataclass(frozen=True)
class CarriedWindows(AbstractBatches):
    """Batches of consecutive windows of long sequences, each going on where the one before it ended.

    Truncated back-propagation through time: what the first step of a window starts from, the model's carry
    and z and the posterior's own memory, is what the step before it left, as a constant. So a state may
    remember for longer than a window, though nothing is learned from further back than a window.

    In an epoch the sequences, in random order, are cut into windows, the last of each as short as need be.
    The list of windows is cut, from a place drawn at random, into ``batch_size`` lanes of as many windows,
    and each step sees the next window of every lane; W modulo ``batch_size`` windows sit out. A lane that
    begins an epoch in the middle of a sequence has nothing to go on from and begins as sequences do: up to
    ``batch_size`` of W windows an epoch, and that is the bias, besides states that were made with the
    parameters of a step before. The bound reported stays in nats per sequence, scaled by W/N; validation is
    on whole sequences.

    Args:
        length: Steps of a window.

    Raises:
        InputError: If there is no step.

    Example:
        >>> import jax, numpy as np, optax, jensen as jn
        >>> x = np.random.default_rng(0).normal(size=(2, 300, 3))
        >>> world = jn.models.RSSM(
        ...     3, 0, deter_dim=8, latent=jn.families.DiagGaussian(2), decoder=(8,), key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=world, widths=(8,), key=jax.random.key(1))
        >>> fitted = jn.fit.gradient(
        ...     jn.Inference(world, q, jn.objectives.ELBO(), jn.gradients.Reparam()),
        ...     x, key=jax.random.key(2), optimizer=optax.adam(1e-3), epochs=2, batch_size=4,
        ...     batches=CarriedWindows(50))
        >>> len(fitted.history.bound)
        6
    """

    length: int

    def __post_init__(self):
        if self.length < 1:
            raise InputError(f"CarriedWindows: length={self.length}; it must be at least 1")

    def plan(self, data: Data, batch_size: int | None) -> AbstractPlan:
        """Return the plan for a data set.

        Raises:
            InputError: If the data are not sequences, or shorter than a window, or there are fewer windows
                than lanes.
        """
        size = _windows("CarriedWindows", self.length, data, batch_size)
        plan = Lanes(size, self.length)
        _check_epoch(size, int(plan.windows(data.rows()).sum()))
        return plan


@final
@dataclass(frozen=True)
class ByLength(AbstractBatches):
    """Batches of sequences of like length, padded to the longest of their group instead of to the longest.

    An epoch is a pass over the rows without replacement, as without it: N modulo ``batch_size`` rows drawn
    at random sit it out, the others are dealt out by length to groups of whole batches, so that every batch
    counts the same. The groups are those with the least padding; the step is compiled once for each.

    Args:
        groups: Most groups.

    Raises:
        InputError: If there is no group.

    Example:
        >>> import numpy as np
        >>> data = Data(np.random.default_rng(0).normal(size=(40, 100, 2)), lengths=np.arange(40) * 2 + 20)
        >>> ByLength(2).plan(data, 10).lengths
        (63, 98)
    """

    groups: int = 3

    def __post_init__(self):
        if self.groups < 1:
            raise InputError(f"ByLength: groups is {self.groups}; it must be at least 1")

    def plan(self, data: Data, batch_size: int | None) -> AbstractPlan:
        """Return the plan for a data set.

        Raises:
            InputError: If the data are not sequences with lengths, or a batch is larger than the data.
        """
        _longest("ByLength", data)
        if data.lengths is None:
            raise InputError("ByLength: give fit.Data(..., lengths=); all sequences are of one length here")
        if batch_size is None:
            raise InputError("ByLength: give batch_size=, the number of sequences a step")
        _check_size(batch_size, data.num_data)
        total, rest = divmod(data.num_data, batch_size)
        ranked = np.sort(data.lengths)
        # whichever rows sit an epoch out, the last of k batches is no longer than this
        needed = ranked[np.arange(1, total + 1) * batch_size - 1 + rest]
        # in steps of a sixteenth, so that data of like lengths share a program
        steps = data.x.shape[1]
        grid = -(-steps // 16)
        needed = np.minimum(-(-np.maximum(needed, 1) // grid) * grid, steps)
        ends = _least_padding(needed, self.groups)
        batches = np.diff([0, *ends])
        return LikeLengths(batch_size, tuple(batches.tolist()), tuple(needed[np.array(ends) - 1].tolist()))


def plan_of(batches: AbstractBatches | None, data: Data, batch_size: int | None) -> AbstractPlan:
    """Return what the batches of a fit are.

    Raises:
        InputError: If the data do not allow it.
    """
    if batches is not None:
        if not isinstance(batches, AbstractBatches):
            raise InputError(
                f"batches={batches!r}: give fit.Windows(...), fit.CarriedWindows(...), fit.ByLength(...), "
                "fit.DynamicBinarization(), or nothing"
            )
        return batches.plan(data, batch_size)
    if batch_size is None:
        return AllRows()
    _check_size(batch_size, data.num_data)
    return AllRows() if batch_size == data.num_data else SomeRows(batch_size)


def _least_padding(needed: np.ndarray, groups: int) -> list[int]:
    """Return where to cut batches of rising lengths into groups with the least sum of padded lengths."""
    starts = np.flatnonzero(np.diff(needed, prepend=0))  # batches of one length stay together
    ends, lengths = np.append(starts[1:], len(needed)), needed[starts]
    best: list[tuple[float, list[int]]] = [(0.0, [])] + [(np.inf, [])] * len(starts)

    def ended(best: list[tuple[float, list[int]]], i: int, j: int) -> tuple[float, list[int]]:
        """Lengths i to j as the last group."""
        return best[i][0] + float((ends[j - 1] - starts[i]) * lengths[j - 1]), [*best[i][1], int(ends[j - 1])]

    for _ in range(groups):  # best[j]: the least cost of the first j lengths, and the cuts that reach it
        best = [best[0]] + [
            min([best[j]] + [ended(best, i, j) for i in range(j)], key=lambda pair: pair[0])
            for j in range(1, len(best))
        ]
    return best[-1][1]


def _windows(name: str, length: int, data: Data, batch_size: int | None) -> int:
    """Return how many windows a step sees, where the data can be cut into them."""
    longest = _longest(name, data)
    if length >= longest:
        raise InputError(
            f"{name}(length={length}): the longest sequence has {longest} steps; take shorter windows, or "
            "leave batches= out to use whole sequences"
        )
    if batch_size is None:
        raise InputError(f"{name}: give batch_size=, the number of windows a step")
    _check_size(batch_size)
    return batch_size


def _check_epoch(size: int, windows: int) -> None:
    if windows < size:
        raise InputError(f"batch_size={size} is larger than an epoch, {windows} windows; lower it")


def _longest(name: str, data: Data) -> int:
    if data.x.ndim < 3:
        raise InputError(f"{name} takes sequences (N, T, D), got shape {data.x.shape}")
    return int(data.x.shape[1] if data.lengths is None else data.lengths.max())


def _check_size(batch_size: int, num_data: int | None = None) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    if num_data is not None and batch_size > num_data:
        raise InputError(
            f"batch_size={batch_size} is larger than the data, {num_data} rows; lower it, or leave it out to "
            "use all rows"
        )


def check_plan(inference: Inference, plan: AbstractPlan) -> None:
    """Refuse windows where the members cannot speak of a part of a sequence.

    Raises:
        InputError: Under a posterior with parameters for each sequence, with a burn-in that the model or the
            objective would score, or with members that cannot carry a state from window to window.
    """
    if isinstance(plan, Lanes):
        check_carried(inference, plan)
    if not isinstance(plan, SomeWindows):
        return
    model, posterior = inference.model, inference.posterior
    if isinstance(posterior, IndexesData):
        name = type(posterior).__name__
        raise InputError(
            f"Windows: {name} holds one law for each whole sequence; use posteriors.Smoothing, or leave "
            "batches= out"
        )
    if not plan.burn_in or isinstance(inference.gradient, Analytic):
        return
    law = posterior.law(model)
    if not isinstance(model, AbstractRecurrentModel) or not issubclass(law, AbstractRecurrentPath):
        raise InputError(
            f"Windows(burn_in={plan.burn_in}): {type(model).__name__} with {type(posterior).__name__} would "
            "score the burn-in too; leave it out, or use gradients.Analytic() for exact models"
        )
    if isinstance(inference.objective, FIVO):
        raise InputError(
            f"Windows(burn_in={plan.burn_in}): FIVO weighs every step; leave the burn-in out, or use "
            "objectives.ELBO()"
        )
