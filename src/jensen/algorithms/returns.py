"""Returns along paths: what came, and what a value function expects to come."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.typing import Array, Float


def lambda_returns(
    rewards: Float[Array, "t"],
    continues: Float[Array, "t"],
    values: Float[Array, "t"],
    *,
    discount: float,
    decay: float,
) -> Float[Array, "t"]:
    r"""Mix returns of all lengths, each ended by a value.

    G_t = r_t + γ c_t [(1 − λ) V(s_{t+1}) + λ G_{t+1}], and λ G + (1 − λ) V is V(s_T) after the last step.

    λ = 1 gives the rewards of the whole path and the value at its end, λ = 0 one reward and the value next.

    Args:
        rewards: r_t, what step t brought, (T,).
        continues: c_t, 0 where the episode ended at step t, (T,).
        values: V(s_{t+1}), of the states that the steps led to, (T,).
        discount: γ.
        decay: λ.

    Returns:
        G_t, (T,); what stands after an end does not count, be it finite or not.

    References:
        Sutton & Barto 2018, §12.1.

    Example:
        >>> import jax.numpy as jnp
        >>> ones = jnp.ones(3)
        >>> lambda_returns(ones, ones, 8 * ones, discount=0.5, decay=1.0).tolist()
        [2.75, 3.5, 5.0]
    """

    def back(after: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        reward, goes_on, value = at
        ahead = jnp.where(
            goes_on > 0, (1 - decay) * value + decay * after, 0.0
        )  # past an end, whatever it is
        here = reward + discount * goes_on * ahead
        return here, here

    return jax.lax.scan(back, values[-1], (rewards, continues, values), reverse=True)[1]


def survival(continues: Float[Array, "t"], *, discount: float) -> Float[Array, "t"]:
    """Return ∏_{s<t} γ c_s: what step t counts for, seen from the first.

    Example:
        >>> import jax.numpy as jnp
        >>> survival(jnp.array([1.0, 0.0, 1.0]), discount=0.5).tolist()
        [1.0, 0.5, 0.0]
    """
    return jnp.concatenate([jnp.ones(1), jnp.cumprod(discount * continues)[:-1]])
