"""What a report shows of sequences: a few of them, what is believed of every step, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, TypeAlias

import jax
import numpy as np

from jensen import use
from jensen.core import Inference
from jensen.datasets import Sequences
from jensen.errors import InputError
from jensen.fit import Data
from jensen.models import likelihoods
from jensen.models.sequence import HMM, RSSM, EmbedToControl, LinearGaussianSSM, NeuralStateSpace
from jensen.models.sequence.emission_gaussian import GaussianEmission
from jensen.models.static.structures import TiedCovariance
from jensen.typing import PRNGKey
from jensen.use.states import States, as_inferred

SHOWN = 3
"""Most sequences drawn."""

MOST_STEPS = 1000
"""Steps of a sequence that are looked at, from its beginning."""

HORIZON = 50
"""Most steps forecast."""

LEVEL = 0.9
REACH = NormalDist().inv_cdf(0.5 + LEVEL / 2)
PATHS, FUTURES = 64, 400

Given: TypeAlias = Sequences | tuple[Sequences, Sequences]
"""Sequences, or those held out and those trained on."""


@dataclass(frozen=True)
class Ahead:
    """Forecasts of the sequences shown.

    Attributes:
        start: Steps observed before the first forecast, (N,).
        mean: (N, H, D); NaN where there is no forecast.
        lower: Lower end of the interval, the noise of x included; ``None`` where x has no order.
        upper: Its upper end.
        known: Whether what happened is known: the last quarter was held back.
    """

    start: np.ndarray
    mean: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    known: bool


@dataclass(frozen=True)
class Paths:
    """The sequences shown, and what the fit says of them.

    Attributes:
        data: A few sequences.
        kind: ``"held-out"`` or ``"training"``; empty where it is not known.
        states: What the posterior says of every step.
        signal: E[x_t] given the posterior, (N, T, D); ``None`` where x are codes of more than two categories.
        known: Standard deviation of the signal.
        spread: Standard deviation of x_t about it, noise included; ``None`` where it has no such thing.
        ahead: Forecasts; ``None`` where there are none.
    """

    data: Sequences
    kind: str
    states: States
    signal: np.ndarray | None
    known: np.ndarray | None
    spread: np.ndarray | None
    ahead: Ahead | None

    def name(self, row: int) -> str:
        """What to call a sequence."""
        kind = f"{self.kind} sequence" if self.kind else "sequence"
        if self.data.ids is not None:
            return f"{kind} {self.data.ids[row]}"
        return f"{kind} {row + 1}" if len(self.data.x) > 1 else f"the one {kind}"


def split(given: Given) -> tuple[Sequences, Sequences | None]:
    """Return the sequences to show, and those trained on if they are others."""
    return given if isinstance(given, tuple) else (given, None)


def chosen(data: Sequences, most: int = SHOWN) -> np.ndarray:
    """Choose sequences: those with something to see in them first; none without a step."""
    seen = data.seen.any((1, 2))
    rank = np.where(seen & (data.lengths > 1), 0, np.where(seen, 1, 2))
    order = np.argsort(rank, kind="stable")
    return order[data.lengths[order] > 0][:most]


def cut(data: Sequences, rows: np.ndarray, most: int = MOST_STEPS) -> Sequences:
    """Return some sequences without the padding that only others need, and at most so many steps of each."""
    data = data.take(rows)
    length = int(min(data.lengths.max(), most))
    acts = data.cond
    if acts is not None:
        acts = acts[:, : length - (acts.shape[1] < data.x.shape[1])]
    mask = None if data.mask is None else data.mask[:, :length]
    return replace(data, x=data.x[:, :length], lengths=np.minimum(data.lengths, length), cond=acts, mask=mask)


def paths(inference: Inference, given: Given, *, key: PRNGKey) -> Paths | None:
    """Infer and forecast a few sequences; ``None`` where none has a step.

    Raises:
        InputError: The posterior cannot answer for these sequences.
    """
    shown, train = split(given)
    rows = chosen(shown)
    if not len(rows):
        return None
    data = cut(shown, rows)
    to_states, to_ahead = jax.random.split(key)
    states = as_inferred(inference, data, key=to_states, num_samples=PATHS)
    signal, known = plain(states.signal), plain(states.signal_std)
    noise = noise_variance(inference.model, states)
    spread = None if noise is None or known is None else np.sqrt(known**2 + noise)
    ahead = None if data.image_shape is not None else forecast(inference, data, key=to_ahead)
    return Paths(data, "" if train is None else "held-out", states, signal, known, spread, ahead)


def plain(values: np.ndarray) -> np.ndarray | None:
    """Return values by column: of two categories those of the second; ``None`` of more."""
    if values.ndim == 3:
        return values
    return values[..., 1] if values.shape[-1] == 2 else None


def noise_variance(model: Any, states: States) -> np.ndarray | None:
    """Return E[Var(x_t | z_t)], (N, T, D), for laws of x whose spread says something."""
    if isinstance(model, LinearGaussianSSM):
        length = states.signal.shape[1] if model.emission_variances.ndim == 2 else None
        return np.broadcast_to(model.emission_variances[:length], states.signal.shape)
    if isinstance(model, HMM):
        found = model.emission_parameters
        if "covariances" in found:
            return np.einsum("ntk,kd->ntd", states.mean, variances(model))
        return states.signal if "rates" in found else None
    if isinstance(model, NeuralStateSpace | EmbedToControl | RSSM) and isinstance(
        model.likelihood_family, likelihoods.Gaussian
    ):
        return np.broadcast_to(np.asarray(model.likelihood_family.scale) ** 2, states.signal.shape)
    return None


def variances(model: HMM) -> np.ndarray:
    """Return the variances of Gaussian emissions of any structure, (K, D)."""
    found = model.emission_parameters
    (count, dim), values = found["means"].shape, found["covariances"]
    if values.ndim == 3:
        return np.einsum("kdd->kd", values)
    if values.ndim == 1:
        return np.repeat(values[:, None], dim, 1)
    emission = model.emission
    gaussian = isinstance(emission, GaussianEmission)
    tied = gaussian and isinstance(emission.components.covariance, TiedCovariance)
    return np.broadcast_to(np.diag(values), (count, dim)) if tied else values


def forecast(inference: Inference, data: Sequences, *, key: PRNGKey) -> Ahead | None:
    """Forecast what follows; where nobody knows the future of actions or parameters, the last quarter."""
    model = inference.model
    known = data.cond is not None or (isinstance(model, LinearGaussianSSM) and model.num_steps is not None)
    start = np.maximum(3 * data.lengths // 4, 1) if known else data.lengths
    able = np.flatnonzero(start < data.lengths if known else start > 0)
    if not len(able):
        return None
    longest = int(start[able].max())
    if known:
        horizon = int((data.lengths - start)[able].max())
        horizon = min(horizon, data.x.shape[1] - longest)
    else:
        horizon = int(np.clip(data.x.shape[1] // 4, 1, HORIZON))
    part = data.take(able)
    mask = None if part.mask is None else part.mask[:, :longest]
    context = Data(part.x[:, :longest], lengths=start[able], mask=mask)
    try:
        got = use.forecast(
            inference,
            context,
            horizon=horizon,
            level=LEVEL,
            actions=part.cond,
            key=key,
            num_samples=FUTURES,
        )
    except InputError:
        return None
    past_end = start[able][:, None] + np.arange(horizon) >= part.lengths[:, None]
    binary = data.kind == "binary"

    def placed(values: np.ndarray | None) -> np.ndarray | None:
        values = None if values is None else plain(values)
        if values is None:
            return None
        out = np.full((len(data.x), horizon, values.shape[-1]), np.nan)
        out[able] = np.where(past_end[..., None] & known, np.nan, values)
        return out

    mean = placed(got.mean)
    if mean is None:
        return None
    ends = (None, None) if binary else (placed(got.lower), placed(got.upper))
    return Ahead(start, mean, *ends, known)
