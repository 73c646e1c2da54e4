"""The same law with one of its two gradient paths cut: through the sample, or through the score."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import jax

from jensen.dist.protocol import AbstractCarrying, AbstractDensity, Draw, draw
from jensen.typing import Array, PRNGKey, PyTree

Q = TypeVar("Q", bound=AbstractDensity)


def stop(tree: PyTree) -> PyTree:
    """Cut the gradient through every floating-point array of a tree, modules included."""
    return jax.tree.map(
        lambda leaf: jax.lax.stop_gradient(leaf) if isinstance(leaf, jax.Array) else leaf, tree
    )


class StoppedScore(AbstractCarrying, Generic[Q]):
    """q sampled as usual, but log q is evaluated with its parameters held constant.

    The expectation of the score ∇log q is zero, so dropping it leaves the gradient unbiased and removes
    its variance (Roeder, Wu & Duvenaud 2017).

    Attributes:
        base: q.
        scored: The law log q is evaluated by, of the same value; q with nothing alive by default.
    """

    base: Q
    scored: Q | None = None

    def draw(self, *, key: PRNGKey) -> Draw:
        """Draw along the path; score with constants."""
        out = draw(self.base, key=key)
        scored = stop(self.base) if self.scored is None else self.scored
        return rescored(out, scored)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Any, Array]:
        """Draw along the path; score with constants."""
        out = self.draw(key=key)
        return out.z, out.log_q


class StoppedSample(AbstractCarrying, Generic[Q]):
    """q with its sample held constant, so that only log q(z) depends on the parameters."""

    base: Q

    def draw(self, *, key: PRNGKey) -> Draw:
        """Draw a constant; score it."""
        out = draw(self.base, key=key)
        z = stop(out.z)
        return Draw(z, _grouped(self.base.log_prob(z)), stop(out.carry), out.penalty)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Any, Array]:
        """Draw a constant; score it."""
        out = self.draw(key=key)
        return out.z, out.log_q


def rescored(drawn: Draw, law: AbstractDensity) -> Draw:
    """Return a draw with log q evaluated by another law."""
    return Draw(drawn.z, _grouped(law.log_prob(drawn.z)), drawn.carry, drawn.penalty)


def _grouped(log_q: Array) -> Array:
    return log_q.reshape(-1)
