"""Parameters of a hidden Markov model as a user gives them, checked on the host."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, JensenWarning
from jensen.models.sequence.emission_counts import CategoricalEmission, PoissonEmission
from jensen.models.sequence.emission_gaussian import GaussianEmission
from jensen.models.sequence.emissions import AbstractEmission, as_logits, checked_probs
from jensen.models.static.given import given
from jensen.models.static.structures import named
from jensen.nets import Frame
from jensen.typing import Array


def checked_chain(initial_probs: Any, transition_matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of a chain.

    Raises:
        InputError: If shapes disagree, or a row is not a distribution.

    Warns:
        JensenWarning: Of states that no path reaches.
    """
    initial, transition = np.asarray(initial_probs, np.float64), np.asarray(transition_matrix, np.float64)
    if initial.ndim != 1 or len(initial) < 1 or transition.shape != (len(initial),) * 2:
        raise InputError(
            f"initial_probs have shape {initial.shape} and transition_matrix {transition.shape}; "
            "give (K,) and (K, K)"
        )
    initial = checked_probs("initial_probs", initial, "")
    transition = checked_probs("transition_matrix", transition, "row")
    reached = initial > 0
    for _ in range(len(initial)):
        reached = reached | (transition[reached] > 0).any(0)
    if not reached.all():
        names = ", ".join(map(str, np.flatnonzero(~reached)))
        warnings.warn(
            f"HMM: state {names} can never be reached from initial_probs; its parameters mean nothing",
            JensenWarning,
            stacklevel=4,
        )
    return initial, transition


def given_emission(
    num_states: int, values: dict[str, Any], covariance: str, input_weights: Any
) -> tuple[AbstractEmission, Frame]:
    """Return the emission of the parameters that were given, and the model's frame.

    Args:
        num_states: K.
        values: ``means`` and ``covariances``, or ``probs``, or ``rates``; the others ``None``.
        covariance: The structure of covariances.
        input_weights: What inputs do; ``None`` for no inputs.

    Raises:
        InputError: If not exactly one emission was given, or its parameters cannot be used.
    """
    names = [name for name, value in values.items() if value is not None]
    got = {name: np.asarray(values[name], np.float64) for name in names}
    makers = {("means", "covariances"): _gaussian, ("probs",): _categorical, ("rates",): _poisson}
    if tuple(names) not in makers:
        raise InputError(
            f"HMM.with_parameters: got {', '.join(names) or 'no emission'}; give means and covariances, or "
            "probs, or rates"
        )
    for name, value in got.items():
        if not np.isfinite(value).all():
            raise InputError(f"{name} hold NaN or infinity")
        if value.shape[:1] != (num_states,) and not (name == "covariances" and covariance == "tied"):
            raise InputError(f"{name} have shape {value.shape}; the chain has {num_states} states")
    return makers[tuple(names)](got, covariance, input_weights)


def _gaussian(got: dict[str, np.ndarray], covariance: str, weights: Any) -> tuple[AbstractEmission, Frame]:
    means, covariances = got["means"], got["covariances"]
    if means.ndim != 2:
        raise InputError(f"means have shape {means.shape}; give (K, D)")
    if covariance == "full" and covariances.ndim == 3:
        for state, matrix in enumerate(covariances):
            if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
                raise InputError(f"covariances: that of state {state} is not a symmetric matrix")
            if np.linalg.eigvalsh(matrix)[0] <= 0:
                raise InputError(f"covariances: that of state {state} is not positive definite")
    k, d = means.shape
    components, frame = given(np.full(k, 1 / k), means, covariances, named(covariance))
    weights = _weights(weights, (k, d))
    scaled = weights / np.asarray(frame.scale, np.float64)[:, None]
    return GaussianEmission(components=components, **_rest(scaled, d)), frame


def _categorical(got: dict[str, np.ndarray], covariance: str, weights: Any) -> tuple[AbstractEmission, Frame]:
    probs = got["probs"]
    probs = probs[:, None] if probs.ndim == 2 else probs
    if probs.ndim != 3 or probs.shape[-1] < 2:
        raise InputError(f"probs have shape {probs.shape}; give (K, C) or (K, D, C), at least two categories")
    probs = checked_probs("probs", probs, "state, column")
    weights, d = _weights(weights, probs.shape), probs.shape[1]
    return CategoricalEmission(logits=as_logits(probs), **_rest(weights, d)), Frame.identity(d)


def _poisson(got: dict[str, np.ndarray], covariance: str, weights: Any) -> tuple[AbstractEmission, Frame]:
    rates = got["rates"]
    if rates.ndim != 2:
        raise InputError(f"rates have shape {rates.shape}; give (K, D)")
    if (rates <= 0).any():
        state, column = np.argwhere(rates <= 0)[0]
        raise InputError(f"rates: that of state {state}, column {column} is not positive")
    weights, d = _weights(weights, rates.shape), rates.shape[1]
    return PoissonEmission(log_rates=_float(np.log(rates)), **_rest(weights, d)), Frame.identity(d)


def _weights(values: Any, lead: tuple[int, ...]) -> np.ndarray:
    if values is None:
        return np.zeros((*lead, 0))
    values = np.asarray(values, np.float64)
    if values.shape[:-1] != lead or not np.isfinite(values).all():
        raise InputError(f"input_weights have shape {values.shape}; give {lead} + (U,), finite")
    return values


def _rest(weights: np.ndarray, data_dim: int) -> dict[str, Any]:
    """Return what all emissions hold besides their own parameters."""
    u = weights.shape[-1]
    return {
        "weights": _float(weights),
        "input_frame": Frame.identity(u),
        "data_dim": data_dim,
        "input_dim": u,
    }


def _float(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.result_type(float))
