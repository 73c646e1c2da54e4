"""What an agent may want: rewards as tables with parameters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, check_key
from jensen.nets import MLP, Fixed
from jensen.typing import Array, Float, PRNGKey


class AbstractReward(eqx.Module):
    """A reward of every state and action, in units that the temperature shares.

    Attributes:
        step_size: Where the learning rate of a fit begins; of tables, in units of the temperature.
    """

    step_size: ClassVar[float] = 1.0

    @abstractmethod
    def table(self) -> Float[Array, "s a"]:
        """Return r(s, a); one column stands for all actions."""


class StateReward(AbstractReward):
    """A number for every state: r(s, a) = w_s.

    What it says of a goal carries over to other dynamics, where a reward of pairs mostly repeats the policy.

    Args:
        num_states: S.
    """

    weights: Float[Array, "s"]

    def __init__(self, num_states: int):
        self.weights = jnp.zeros(num_states)

    def table(self) -> Float[Array, "s 1"]:
        """Return w as a column."""
        return self.weights[:, None]


class PairReward(AbstractReward):
    """A number for every state and action: r(s, a) = w_sa. It can copy any policy.

    Args:
        num_states: S.
        num_actions: A.
    """

    weights: Float[Array, "s a"]

    def __init__(self, num_states: int, num_actions: int):
        self.weights = jnp.zeros((num_states, num_actions))

    def table(self) -> Float[Array, "s a"]:
        """Return w."""
        return self.weights


class Features(Fixed):
    """What is known of states, or of states and actions; never trained.

    Attributes:
        values: (S, 1, K), or (S, A, K).
    """

    values: Float[Array, "s a k"]

    @classmethod
    def of(cls, features: Any) -> Features:
        """Read (S, K), or (S, A, K).

        Raises:
            InputError: Another shape, or entries that are not finite.
        """
        values = np.asarray(features, np.float32)
        if values.ndim not in (2, 3) or not np.isfinite(values).all():
            raise InputError(
                f"features have shape {values.shape}; they must be finite, (states, K) or (states, "
                "actions, K)"
            )
        return cls(jnp.asarray(values[:, None] if values.ndim == 2 else values))


class LinearReward(AbstractReward):
    """A weighted sum of features: r = w · φ(s) or w · φ(s, a) (Ziebart et al. 2008).

    Args:
        features: φ, (S, K) or (S, A, K).

    Raises:
        InputError: Features of another shape, or not finite.
    """

    features: Features
    weights: Float[Array, "k"]

    def __init__(self, features: Any):
        self.features = Features.of(features)
        self.weights = jnp.zeros(self.features.values.shape[-1])

    def table(self) -> Float[Array, "s a"]:
        """Return φ w."""
        return jax.lax.stop_gradient(self.features.values) @ self.weights


class NetReward(AbstractReward):
    """A network of features: r = f(φ(s)) or f(φ(s, a)).

    Args:
        features: φ, (S, K) or (S, A, K).
        widths: Hidden widths.
        net: Any equinox module from (K,) to (1,), in place of a perceptron.
        key: Randomness of the weights.

    Raises:
        InputError: Features of another shape, or not finite.
    """

    step_size: ClassVar[float] = 0.01
    features: Features
    net: Any

    def __init__(self, features: Any, *, widths: Sequence[int] = (32, 32), net: Any = None, key: PRNGKey):
        check_key(key)
        self.features = Features.of(features)
        self.net = MLP(self.features.values.shape[-1], 1, widths, key=key) if net is None else net

    def table(self) -> Float[Array, "s a"]:
        """Return f(φ)."""
        return jax.vmap(jax.vmap(self.net))(jax.lax.stop_gradient(self.features.values))[..., 0]


class Known(Fixed):
    """Rewards that are given, (S, A); never trained."""

    values: Float[Array, "s a"]


class ScaledReward(AbstractReward):
    """A known reward in unknown units, r = exp(s) r_0: by its scale a temperature is found.

    Only r/τ tells in behaviour, so s at τ = 1 stands for a temperature of exp(−s).

    Args:
        rewards: r_0, (S, A) or (S,).
    """

    step_size: ClassVar[float] = 0.1
    known: Known
    log_scale: Float[Array, ""]

    def __init__(self, rewards: Any):
        values = jnp.asarray(rewards, jnp.result_type(float))
        self.known = Known(values[:, None] if values.ndim == 1 else values)
        self.log_scale = jnp.zeros(())

    def table(self) -> Float[Array, "s a"]:
        """Return exp(s) r_0."""
        return jnp.exp(self.log_scale) * jax.lax.stop_gradient(self.known.values)
