"""Invertible maps of R^d, the layers of a flow."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.typing import Array, Float, Scalar

LOG_SCALE_BOUND = 2.0
"""One layer stretches a coordinate by at most e^±2: any weights leave the flow finite."""


class AbstractBijection(eqx.Module):
    """An invertible, smooth map z = f(u). Both directions return log |det dz/du|, in nats."""

    @abstractmethod
    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Return f(u) and the log-determinant of the derivative there."""

    @abstractmethod
    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Return the u with f(u) = z, and the log-determinant of f's derivative at u."""


class Chain(AbstractBijection):
    """Maps one after another, the first of them nearest to the noise."""

    parts: tuple[AbstractBijection, ...]

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Pass through all parts."""
        total = jnp.zeros((), u.dtype)
        for part in self.parts:
            u, log_det = part.forward(u)
            total = total + log_det
        return u, total

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Pass back through all parts."""
        total = jnp.zeros((), z.dtype)
        for part in reversed(self.parts):
            z, log_det = part.inverse(z)
            total = total + log_det
        return z, total


class Affine(AbstractBijection):
    """z = loc + scale·u, coordinate by coordinate."""

    loc: Float[Array, "*b d"]
    scale: Float[Array, "*b d"]

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Scale and shift."""
        return self.loc + self.scale * u, jnp.log(self.scale).sum()

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Shift and scale back."""
        return (z - self.loc) / self.scale, jnp.log(self.scale).sum()


class Reverse(AbstractBijection):
    """The coordinates in reverse order."""

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Turn the order around."""
        return u[::-1], jnp.zeros((), u.dtype)

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Turn it around again."""
        return z[::-1], jnp.zeros((), z.dtype)


class Planar(AbstractBijection):
    """z = u + a tanh(wᵀu + b), invertible while wᵀa > −1.

    Args:
        w: Direction that is looked along.
        a: Direction that is moved along; its part along w is mended so that wᵀa > −1, and a = 0 stays 0.
        b: Offset.

    References:
        Rezende & Mohamed 2015, Variational inference with normalizing flows.
    """

    w: Float[Array, "*s d"]
    a: Float[Array, "*s d"]
    b: Float[Array, "*s"]

    def _mended(self) -> tuple[Float[Array, "d"], Scalar]:
        """Return a with its product with w moved above −1, and that product."""
        along = self.w @ self.a
        # h(s) > −0.9 with h(0) = 0, a shifted softplus: near −1 the slope of log q has a pole
        allowed = 0.9 * (jax.nn.softplus(along + 0.5413248546) - 1.0)
        square = jnp.maximum(self.w @ self.w, 1e-12)
        return self.a + (allowed - along) * self.w / square, allowed

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Move along a by how far u lies along w."""
        a, along = self._mended()
        lift = jnp.tanh(self.w @ u + self.b)
        return u + a * lift, jnp.log1p(along * (1 - lift**2))

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Solve t + wᵀa tanh(t) = wᵀz + b for t = wᵀu + b: by halving, then two Newton steps.

        Those carry the derivatives, the first and the second exactly.
        """
        a, along = self._mended()
        wanted = self.w @ z + self.b
        slope, level = jax.lax.stop_gradient((along, wanted))

        def halve(bracket: tuple[Scalar, Scalar], _: None) -> tuple[tuple[Scalar, Scalar], None]:
            low, high = bracket
            middle = 0.5 * (low + high)
            above = middle + slope * jnp.tanh(middle) > level
            return (jnp.where(above, low, middle), jnp.where(above, middle, high)), None

        reach = jnp.abs(slope)
        (low, high), _ = jax.lax.scan(halve, (level - reach, level + reach), None, length=30)
        t = 0.5 * (low + high)
        for _ in range(2):
            lift = jnp.tanh(t)
            t = t - (t + along * lift - wanted) / (1 + along * (1 - lift**2))
        lift = jnp.tanh(t)
        return z - a * lift, jnp.log1p(along * (1 - lift**2))


class Coupling(AbstractBijection):
    """Every second coordinate is scaled and shifted by functions of the others. Cheap both ways.

    Args:
        net: From the coordinates at rest, joined to the context, to shifts and raw log-scales of the others.
        context: What else the net reads.
        odd: Whether the odd coordinates move, else the even ones.

    References:
        Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using Real NVP.
    """

    net: Any
    context: Float[Array, "c"]
    odd: bool = eqx.field(static=True)

    def _parts(self, x: Float[Array, "d"]) -> tuple[Array, Array, Array, Array]:
        """Return the coordinates that rest and move, and the move's shift and log-scale."""
        rest, moving = (x[0::2], x[1::2]) if self.odd else (x[1::2], x[0::2])
        shift, raw = jnp.split(self.net(jnp.concatenate([rest, self.context])), 2)
        return rest, moving, shift, _bounded(raw)

    def _joined(self, rest: Array, moved: Array) -> Float[Array, "d"]:
        out = jnp.zeros(len(rest) + len(moved), moved.dtype)
        even, odd = (rest, moved) if self.odd else (moved, rest)
        return out.at[0::2].set(even).at[1::2].set(odd)

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Scale and shift what moves."""
        rest, moving, shift, log_scale = self._parts(u)
        return self._joined(rest, moving * jnp.exp(log_scale) + shift), log_scale.sum()

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Shift and scale back: what rests is the same on both sides."""
        rest, moved, shift, log_scale = self._parts(z)
        return self._joined(rest, (moved - shift) * jnp.exp(-log_scale)), log_scale.sum()


class Autoregressive(AbstractBijection):
    """zᵢ = uᵢ·exp(sᵢ(u_{<i})) + mᵢ(u_{<i}): one pass forward, d passes back.

    Args:
        net: From u joined to the context to m and raw s, entry i of both a function of u_{<i} alone.
        context: What else the net reads.

    References:
        Kingma et al. 2016, Improving variational inference with inverse autoregressive flow.
    """

    net: Any
    context: Float[Array, "c"]

    def _move(self, u: Float[Array, "d"]) -> tuple[Array, Array]:
        shift, raw = jnp.split(self.net(jnp.concatenate([u, self.context])), 2)
        return shift, _bounded(raw)

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Scale and shift every coordinate by what comes before it."""
        shift, log_scale = self._move(u)
        return u * jnp.exp(log_scale) + shift, log_scale.sum()

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Repeat u ← (z − m(u)) exp(−s(u)): one coordinate more is right after each of d rounds."""

        def round(u: Array, _: None) -> tuple[Array, Scalar]:
            shift, log_scale = self._move(u)
            return (z - shift) * jnp.exp(-log_scale), log_scale.sum()

        u, _ = jax.lax.scan(round, z, None, length=len(z))
        return u, self._move(u)[1].sum()


class Foreign(AbstractBijection):
    """A bijection of flowjax, by its two methods ``transform_and_log_det`` and ``inverse_and_log_det``.

    Its arrays are held apart from the rest, so that laws can be stacked like any others.

    Args:
        arrays: The bijection's arrays, as ``equinox.partition(bijection, equinox.is_array)`` gives them.
        rest: What is left of it.
        context: Its condition; ``None`` where it takes none.
    """

    arrays: Any
    rest: Any = eqx.field(static=True)
    context: Float[Array, "c"] | None

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Ask the bijection."""
        return eqx.combine(self.arrays, self.rest).transform_and_log_det(u, self.context)

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Ask the bijection, which returns the log-determinant of its inverse."""
        u, log_det = eqx.combine(self.arrays, self.rest).inverse_and_log_det(z, self.context)
        return u, -log_det


def _bounded(raw: Array) -> Array:
    return LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND)
