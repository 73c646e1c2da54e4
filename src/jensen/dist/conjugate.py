"""Conjugate laws of parameters: Dirichlet rows, Normal–Wishart blocks, and independent factors of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln, multigammaln

from jensen.algorithms.gamma import divergence_rest, draw_log_gamma, excess
from jensen.algorithms.linalg import cholesky, solve_lower
from jensen.dist.kl import kl_divergence, register_kl
from jensen.dist.protocol import AbstractDensity
from jensen.typing import Array, Float, PRNGKey, Scalar

LOG_2PI = 1.8378770664093453


class Dirichlet(AbstractDensity):
    """Independent Dirichlet rows; z holds *log*-probabilities, which stay finite at small concentrations.

    Densities are those of the probabilities.

    Attributes:
        concentration: Positive, one row per law.
    """

    concentration: Float[Array, "b k"]

    @property
    def expected_log(self) -> Float[Array, "b k"]:
        """E[log π] = ψ(α_k) − ψ(Σα)."""
        return digamma(self.concentration) - digamma(self.concentration.sum(-1, keepdims=True))

    @property
    def mean(self) -> Float[Array, "b k"]:
        """E[π]."""
        return self.concentration / self.concentration.sum(-1, keepdims=True)

    def log_prob(self, z: Float[Array, "b k"]) -> Scalar:
        """Return the sum over rows of log Dir(π; α) at π = exp z, in nats."""
        a = self.concentration
        return (((a - 1) * z - gammaln(a)).sum(-1) + gammaln(a.sum(-1))).sum()

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "b k"], Scalar]:
        """Draw log-probabilities."""
        z = jax.nn.log_softmax(draw_log_gamma(self.concentration, key=key))
        return z, self.log_prob(z)


class NormalWishart(AbstractDensity):
    r"""K independent laws of a mean and a precision: μ | Λ ~ N(m, (βΛ)⁻¹), Λ ~ W(S⁻¹, ν).

    z is the pair (μ, T) with Λ = T Tᵀ, T lower-triangular; densities are those of (μ, Λ). E[Λ] = ν S⁻¹.

    Attributes:
        loc: m, (K, D).
        strength: β: how many rows the belief about the mean is worth, (K,).
        dof: ν, above D − 1, (K,).
        scatter_tril: C with S = C Cᵀ, (K, D, D).
    """

    loc: Float[Array, "k d"]
    strength: Float[Array, "k"]
    dof: Float[Array, "k"]
    scatter_tril: Float[Array, "k d d"]

    @property
    def expected_log_det(self) -> Float[Array, "k"]:
        """E[log |Λ|]."""
        d = self.loc.shape[-1]
        return _multidigamma(self.dof / 2, d) + d * jnp.log(2.0) - 2 * _half_log_det(self.scatter_tril)

    def whiten(self, x: Float[Array, "n d"]) -> Float[Array, "k d n"]:
        """Return C⁻¹(x − m) for every law."""
        return jax.vmap(lambda tril, m: solve_lower(tril, (x - m).T))(self.scatter_tril, self.loc)

    def expected_log_prob(self, y: Float[Array, "k d n"]) -> Float[Array, "k n"]:
        """Return E[log N(x; μ, Λ⁻¹)] in nats, from rows already whitened."""
        d = self.loc.shape[-1]
        inside = d / self.strength[:, None] + self.dof[:, None] * (y**2).sum(1)
        return 0.5 * (self.expected_log_det[:, None] - d * LOG_2PI - inside)

    def predictive_log_prob(self, y: Float[Array, "k d n"]) -> Float[Array, "k n"]:
        """Return the log-density of the Student-t laws ∫ N(x; μ, Λ⁻¹) dq, from rows already whitened."""
        d = self.loc.shape[-1]
        free = (self.dof + 1 - d)[:, None]  # degrees of freedom of the t law
        widen = (self.strength / (1 + self.strength))[:, None]  # (x−m)ᵀ S⁻¹ (x−m) is |y|²
        inside = jnp.log1p(widen * (y**2).sum(1))
        top = gammaln((free + d) / 2) - gammaln(free / 2) - 0.5 * d * jnp.log(jnp.pi)
        return top + 0.5 * d * jnp.log(widen) - _half_log_det(self.scatter_tril)[:, None] - (
            free + d
        ) / 2 * inside  # fmt: skip

    def log_prob(self, z: tuple[Float[Array, "k d"], Float[Array, "k d d"]]) -> Scalar:
        """Return the sum over laws of log p(μ, Λ), in nats."""
        mean, tril = z
        d = mean.shape[-1]
        half_log_det = _half_log_det(tril)  # of Λ
        distance = jnp.einsum("kij,ki->kj", tril, mean - self.loc)
        normal = 0.5 * d * (jnp.log(self.strength) - LOG_2PI) + half_log_det
        normal = normal - 0.5 * self.strength * (distance**2).sum(-1)
        trace = (jnp.einsum("kij,kil->kjl", self.scatter_tril, tril) ** 2).sum((-1, -2))
        wishart = (self.dof - d - 1) * half_log_det - 0.5 * trace + self._log_constant()
        return (normal + wishart).sum()

    def _log_constant(self) -> Float[Array, "k"]:
        d = self.loc.shape[-1]
        constant = self.dof * _half_log_det(self.scatter_tril) - 0.5 * self.dof * d * jnp.log(2.0)
        return constant - multigammaln(self.dof / 2, d)

    def sample_and_log_prob(
        self, *, key: PRNGKey
    ) -> tuple[tuple[Float[Array, "k d"], Float[Array, "k d d"]], Scalar]:
        """Draw means and factors of precisions (Bartlett 1933)."""
        k, d = self.loc.shape
        to_diagonal, to_lower, to_mean = jax.random.split(key, 3)
        free = self.dof[:, None] - jnp.arange(d)
        root = jnp.exp(0.5 * (draw_log_gamma(free / 2, key=to_diagonal) + jnp.log(2.0)))
        bartlett = jnp.tril(jax.random.normal(to_lower, (k, d, d)), -1) + jax.vmap(jnp.diag)(root)
        inverse = jax.vmap(lambda tril: solve_lower(tril, jnp.eye(d)))(self.scatter_tril)
        # a product of lower factors stays one, however near to singular the draw is
        tril = jax.vmap(cholesky)(inverse.mT @ inverse) @ bartlett
        noise = jax.random.normal(to_mean, (k, d))
        step = jax.vmap(lambda t, e: solve_lower(t[::-1, ::-1].T, e[::-1, None])[::-1, 0])(tril, noise)
        mean = self.loc + step / jnp.sqrt(self.strength)[:, None]
        z = (mean, tril)
        return z, self.log_prob(z)

    def updated(
        self,
        q: NormalWishart,
        count: Float[Array, "k"],
        first: Float[Array, "k d"],
        second: Float[Array, "k d d"],
    ) -> NormalWishart:
        """Return the posterior of this prior given rows, summed up in the whitened coordinates of ``q``.

        Moments about a point near the rows keep the digits that raw ones would lose in float32.

        Args:
            q: The law that whitened the rows.
            count: Σ r.
            first: Σ r y.
            second: Σ r y yᵀ.
        """
        safe = jnp.where(count > 0, count, 1.0)
        centre = first / safe[:, None]
        inner = second - jnp.einsum("k,ki,kj->kij", count, centre, centre)
        tril = q.scatter_tril
        mean = q.loc + jnp.einsum("kij,kj->ki", tril, centre)
        scatter = self.scatter_tril @ self.scatter_tril.mT + tril @ inner @ tril.mT
        strength = self.strength + count
        away = mean - self.loc
        scatter = scatter + jnp.einsum("k,ki,kj->kij", self.strength * count / strength, away, away)
        loc = (self.strength[:, None] * self.loc + count[:, None] * mean) / strength[:, None]
        return NormalWishart(loc, strength, self.dof + count, jax.vmap(cholesky)(scatter))


class Factors(AbstractDensity):
    """Independent laws by name; z is a dict, and every law a latent group of its own."""

    laws: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return one law."""
        return self.laws[name]

    def log_prob(self, z: dict[str, Any]) -> Float[Array, "groups"]:
        """Return the log-density of each law, in nats, in the order of their names."""
        return jnp.stack([self.laws[name].log_prob(z[name]) for name in sorted(self.laws)])

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[dict[str, Any], Float[Array, "groups"]]:
        """Draw from every law."""
        names = sorted(self.laws)
        keys = jax.random.split(key, len(names))
        drawn = [self.laws[n].sample_and_log_prob(key=k) for n, k in zip(names, keys, strict=True)]
        return {n: z for n, (z, _) in zip(names, drawn, strict=True)}, jnp.stack([lp for _, lp in drawn])


# Differences of log Γ at N rows cancel to a few nats out of N log N: more digits than float32 has. Below, all
# that is linear in N has cancelled by hand: every term is positive, or grows no faster than log N.


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(q: Dirichlet, p: Dirichlet, z: Any) -> Scalar:
    a, b = q.concentration, p.concentration
    all_a, all_b = a.sum(-1, keepdims=True), b.sum(-1, keepdims=True)
    u = a / b * (all_b / all_a) - 1
    each = b * excess(u, jnp.log(a / b) + jnp.log(all_b / all_a)) + divergence_rest(b, a)
    return (each.sum(-1) - divergence_rest(all_b, all_a)[..., 0]).sum()


@register_kl(NormalWishart, NormalWishart)
def _normal_wishart(q: NormalWishart, p: NormalWishart, z: Any) -> Scalar:
    d = q.loc.shape[-1]
    away = jax.vmap(solve_lower)(q.scatter_tril, (q.loc - p.loc)[..., None])[..., 0]
    weight = p.strength / q.strength
    normal = d * excess(weight - 1, jnp.log(weight)) + p.strength * q.dof * (away**2).sum(-1)
    return (_wishart(q, p) + 0.5 * normal).sum()


def _wishart(q: NormalWishart, p: NormalWishart) -> Float[Array, "k"]:
    """Return KL(W(S_q⁻¹, ν_q) ‖ W(S_p⁻¹, ν_p)) of the precisions.

    With M = (ν_q/ν_p) S_q⁻¹ S_p it is ν_p/2 (tr M − log |M| − D), and a rest that grows like log ν.
    """
    d = q.loc.shape[-1]
    below = jnp.arange(d)
    more = jnp.log(q.dof / p.dof)
    root = jnp.sqrt(q.dof / p.dof)[:, None, None] * jax.vmap(solve_lower)(q.scatter_tril, p.scatter_tril)
    own = jnp.diagonal(root, axis1=-2, axis2=-1) ** 2
    aside = jnp.sum(jnp.tril(root, -1) ** 2, (-1, -2))
    scatter = 0.5 * p.dof * (excess(own - 1, jnp.log(own)).sum(-1) + aside)
    half_q, half_p = 0.5 * (q.dof[:, None] - below), 0.5 * (p.dof[:, None] - below)
    apart = jnp.log1p(-below / p.dof[:, None]) - jnp.log1p(-below / q.dof[:, None])
    rest = half_p * apart + 0.5 * below * more[:, None] + divergence_rest(half_p, half_q)
    return scatter + rest.sum(-1)


@register_kl(Factors, Factors)
def _factors(q: Factors, p: Factors, z: Any) -> Float[Array, "groups"]:
    each = [kl_divergence(q[name], p[name], None) for name in sorted(q.laws)]
    assert all(kl is not None for kl in each)  # factors are conjugate laws
    return jnp.concatenate([kl for kl in each if kl is not None])


def _multidigamma(x: Float[Array, "k"], d: int) -> Float[Array, "k"]:
    return digamma(x[:, None] - 0.5 * jnp.arange(d)).sum(-1)


def _half_log_det(tril: Float[Array, "k d d"]) -> Float[Array, "k"]:
    return jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)).sum(-1)
