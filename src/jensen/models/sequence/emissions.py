"""What the states of a hidden Markov model emit: the abstract emission, and probabilities as numbers."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.dist import AbstractObservation
from jensen.errors import CombinationError, InputError
from jensen.nets import Frame
from jensen.typing import Array, Bool, Float

LOG_ZERO = -1e3
"""The logit of what is impossible: a probability of exactly zero, yet a finite parameter without gradient."""

EMPTY = 1e-6
"""Share of the steps below which a state keeps the parameters it has."""


class Steps(NamedTuple):
    """Time steps as every state sees them.

    Attributes:
        log_p: log p(x_t | z_t = k) over the observed entries, in the model's frame, in nats.
        detail: What ``moments`` needs of the steps, for the emission that made it.
    """

    log_p: Float[Array, "k n"]
    detail: Any


class AbstractEmission(eqx.Module):
    """p(x_t | z_t, u_t) for K states. Steps come as rows, whatever sequence they are from."""

    kind: ClassVar[str]
    data_dim: eqx.AbstractVar[int]
    input_dim: eqx.AbstractVar[int]

    @abstractmethod
    def see(
        self, x: Float[Array, "n d"], mask: Bool[Array, "n d"] | None, inputs: Float[Array, "n u"] | None
    ) -> Steps:
        """Evaluate every step under every state, in the model's frame; unobserved entries hold zero."""

    @abstractmethod
    def moments(self, steps: Steps, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum expected sufficient statistics with weights ``r``."""

    @abstractmethod
    def maximized(self, statistics: dict[str, Array], free: Any) -> "AbstractEmission":
        """Return the emission that maximizes the expected log-density.

        Args:
            statistics: What ``moments`` summed, and under ``"weight"`` the number of steps.
            free: A tree like ``self`` of booleans: what may change.
        """

    @abstractmethod
    def expected(self, steps: Steps, r: Float[Array, "k n"]) -> Float[Array, "n d"]:
        """Return E[x_t | observed entries] when p(z_t) = r; categories by the likeliest."""

    @abstractmethod
    def observation(self, state: Any, inputs: Float[Array, "u"] | None, frame: Frame) -> AbstractObservation:
        """Return p(x_t | z_t = state), in the data's own units."""

    @abstractmethod
    def at_floor(self) -> Bool[Array, "..."]:
        """Say which of its scales sit at their floor."""

    @abstractmethod
    def check(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Refuse values outside the support. Host code.

        Args:
            x: Sequences, (N, T, D).
            seen: True where an entry is real and observed.
        """

    @abstractmethod
    def start(
        self, rows: Datum, rng: np.random.Generator
    ) -> tuple["AbstractEmission", Frame, np.ndarray | None]:
        """Choose a start from steps. Host code.

        Args:
            rows: All real steps as rows (n, D), float64, with cond, mask and weight.
            rng: Randomness.

        Returns:
            The emission, the model's frame, and a first guess (n,) at the states, if there is one.
        """

    @abstractmethod
    def parameters(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return the parameters in the data's own units, float64."""


def log_probs(logits: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    """Return log-probabilities over the last axis; those below half of ``LOG_ZERO`` are −∞."""
    return jax.nn.log_softmax(jnp.where(logits > LOG_ZERO / 2, logits, -jnp.inf))


def as_logits(probs: Any) -> Float[Array, "*b c"]:
    """Return logits of probabilities. Host code."""
    probs = np.asarray(probs, np.float64)
    return jnp.asarray(
        np.where(probs > 0, np.log(np.where(probs > 0, probs, 1.0)), LOG_ZERO), jnp.result_type(float)
    )


def counted(
    logits: Float[Array, "*b c"], counts: Float[Array, "*b c"], least: Any = 0.0
) -> Float[Array, "*b c"]:
    """Return logits of relative frequencies over the last axis.

    What is impossible stays so, nothing else becomes it, and rows counted no more than ``least`` stay.
    """
    total = counts.sum(-1, keepdims=True)
    share = counts / jnp.where(total > 0, total, 1.0)
    new = jnp.log(jnp.maximum(share, jnp.finfo(share.dtype).tiny))
    return jnp.where((total > least) & (logits > LOG_ZERO / 2), new, logits)


def checked_probs(name: str, values: Any, row_name: str) -> np.ndarray:
    """Return probabilities whose last axis sums to one.

    Raises:
        InputError: Naming the row that is not a distribution.
    """
    values = np.asarray(values, np.float64)
    rows = values.reshape(-1, values.shape[-1])
    for index, row in zip(np.ndindex(values.shape[:-1]), rows, strict=True):
        where = f"{name}{f' of {row_name} ' + ', '.join(map(str, index)) if index else ''}"
        if not np.isfinite(row).all():
            raise InputError(f"{where}: holds NaN or infinity")
        if (row < 0).any():
            at = int(np.argmax(row < 0))
            raise InputError(f"{where}: entry {at} is {row[at]:.6g}; probabilities are not negative")
        if abs(row.sum() - 1) > 1e-4:
            raise InputError(f"{where}: sums to {row.sum():.6g}, not 1")
    return values / values.sum(-1, keepdims=True)


def refuse_inputs(emission: AbstractEmission) -> None:
    """Refuse an M-step that has no closed form.

    Raises:
        CombinationError: If the emission depends on inputs.
    """
    if emission.input_dim:
        raise CombinationError(
            f"HMM: {emission.kind} emissions with inputs have no closed-form M-step; use fit.gradient with "
            "posteriors.Exact() and gradients.Analytic()"
        )
