"""The evidence lower bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    Datum,
    HasBatchTerm,
    HasCondition,
    HasFamily,
    HasMarkovLatents,
    HasRecurrence,
    HoldsLatent,
    Losses,
    MeanOverDraws,
    Terms,
    Verdict,
    independent_draws,
    live,
)
from jensen.dist import AbstractDistribution, has_kl
from jensen.errors import InputError, at_least
from jensen.objectives.schedules import at
from jensen.typing import Array, Float, Int, PRNGKey, Scalar, Schedule


class ELBO(MeanOverDraws, HasBatchTerm):
    r"""log p(x) ≥ E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)), in nats.

    The loss may weigh the KL by β, leave each latent group some free nats, and balance the KL between
    prior and posterior; the bound reported never does.

    Args:
        num_samples: Draws per datum.
        beta: Weight of the KL in the loss, a number or a function of the step.
        free_bits: Nats per latent group below which the KL is not pushed: a number, one for each group (the
            layers of a hierarchy, the top first), or a function of the step that returns either.
        free_bits_over: Whether the free nats are granted to every ``"datum"`` or to the mean over the
            ``"batch"``; the latter is biased unless the batch is all rows. Where groups are the steps of
            ragged sequences, the mean is over those that have the step.
        kl: ``"analytic"`` demands the closed form, ``"sampled"`` forbids it, ``"auto"`` uses it where it
            exists and the gradient estimator allows.
        kl_balance: Share α of the KL's gradient that moves the prior, the rest moves the posterior:
            α·KL(stop(q) ‖ p) + (1 − α)·KL(q ‖ stop(p)), the laws held constant in turn, so that what both
            are made of (a recurrent state) is trained from both sides. With a sampled KL it is the
            parameters of model and posterior that are held instead, at the price of a second pass. ``None``
            for the plain gradient. Biased.

    Raises:
        InputError: If an argument is out of range.

    References:
        Kingma & Welling 2014; Higgins et al. 2017 (β); Kingma et al. 2016 (free bits); Hafner et al. 2021
        (balance).

    Example:
        >>> ELBO(beta=0.5, free_bits=0.1).num_samples
        1
    """

    num_samples: int
    beta: float | Schedule
    free_bits: float | tuple[float, ...] | Schedule
    free_bits_over: Literal["datum", "batch"]
    closed_form_kl: Literal["auto", "analytic", "sampled"]
    kl_balance: float | None

    def __init__(
        self,
        num_samples: int = 1,
        *,
        beta: float | Schedule = 1.0,
        free_bits: float | Sequence[float] | Schedule = 0.0,
        free_bits_over: Literal["datum", "batch"] = "datum",
        kl: Literal["auto", "analytic", "sampled"] = "auto",
        kl_balance: float | None = None,
    ):
        at_least("ELBO", 1, num_samples=num_samples)
        if isinstance(free_bits, Sequence):
            free_bits = tuple(free_bits)
        for name, value in (("beta", beta), ("free_bits", free_bits)):
            if not callable(value) and not np.all(np.asarray(value) >= 0):
                raise InputError(f"ELBO: {name} is {value}; it must be 0 or more")
        if kl_balance is not None and not 0 <= kl_balance <= 1:
            raise InputError(f"ELBO: kl_balance is {kl_balance}; it must lie between 0 and 1")
        if kl not in ("auto", "analytic", "sampled"):
            raise InputError(f"ELBO: kl is {kl!r}; choose auto, analytic or sampled")
        if free_bits_over not in ("datum", "batch"):
            raise InputError(f"ELBO: free_bits_over is {free_bits_over!r}; choose datum or batch")
        if kl_balance is not None and free_bits_over == "batch":
            raise InputError("ELBO: kl_balance needs free_bits_over='datum'; the batch mean has one gradient")
        self.num_samples = num_samples
        self.beta = beta
        self.free_bits = free_bits
        self.free_bits_over = free_bits_over
        self.closed_form_kl = kl
        self.kl_balance = kl_balance

    def draw(self, model: Any, q: AbstractDistribution, datum: Datum, *, key: PRNGKey, share: Any) -> Terms:
        """Draw independently."""
        balance = None if self.closed_form_kl == "sampled" else self.kl_balance
        return independent_draws(model, q, datum, self.num_samples, key=key, share=share, balance=balance)

    def bound(self, terms: Terms) -> Scalar:
        """Return E[log p(x|z)] − KL, averaged over draws, in nats."""
        return jnp.mean(terms.reconstruction - self._divergence(terms).sum(-1))

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return −E[log p(x|z)] + β·max(KL, free nats) summed over groups, plus penalties."""
        fit = jnp.mean(terms.penalty - terms.reconstruction)
        if self.couples_data:
            return Losses.both(fit)
        kl = self._divergence(terms)
        if self._has_free_bits:
            kl = jnp.maximum(kl, self._free_nats(terms, step))
        kl = at(self.beta, step) * kl.sum(-1).mean()
        if self.kl_balance is None or terms.balanced:
            return Losses.both(fit + kl)
        return Losses(fit + self.kl_balance * kl, fit + (1 - self.kl_balance) * kl)

    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return β Σ_g s_g max(mean KL_g, free nats), s_g the share of data with group g.

        The mean is over those data. Zero where free nats are granted to every datum.
        """
        if not self.couples_data:
            return jnp.zeros(())
        each = self._divergence(terms)
        free = jnp.broadcast_to(self._free_nats(terms, step), each.shape)
        return at(self.beta, step) * jnp.maximum(each.mean((0, 1)), free.mean((0, 1))).sum()

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse an analytic KL that does not exist; name the bias of KL balancing."""
        if refusal := self._another_length(inference):
            return refusal
        model, q = inference.model, inference.posterior.law(inference.model)
        if self.closed_form_kl == "analytic" and not _has_closed_form(q, model):
            return Verdict(
                "refused", f"ELBO(kl='analytic'): no closed-form KL for {q.__name__}; use kl='sampled'"
            )
        if self.kl_balance is not None:
            return Verdict("biased", "ELBO(kl_balance=...) follows two losses, the gradient of no one bound")
        if self.couples_data:
            return Verdict(
                "biased",
                "ELBO(free_bits_over='batch'): the mean over batches of max(their mean KL, free nats) is not "
                "the max at the mean over all data; only batches of all rows are unbiased",
            )
        if self._has_free_bits and (self.closed_form_kl == "sampled" or not _has_closed_form(q, model)):
            return Verdict(
                "biased",
                "ELBO(free_bits=...) with a sampled KL: the mean of max(sample, free nats) is not max(KL, ·)",
            )
        return Verdict("exact")

    def _another_length(self, inference: AbstractInference) -> Verdict | None:
        """Refuse free bits that are not one a group, where the groups are known before any data are."""
        if callable(self.free_bits) or not np.ndim(self.free_bits):
            return None
        given, groups = np.size(self.free_bits), _groups(inference)
        if groups is None or given in groups:
            return None
        return Verdict(
            "refused",
            f"ELBO: free_bits has {given} numbers, z has {groups[0]} latent groups; give one number "
            "for each, or one for all",
        )

    def _free_nats(self, terms: Terms, step: Int[Array, ""]) -> Float[Array, "..."]:
        """Return the free nats of a group: none of a padded step, a share where one z is behind all data."""
        free = jnp.asarray(at(self.free_bits, step))
        groups = terms.log_q.shape[-1]
        if free.ndim and free.shape[-1] != groups:
            raise InputError(f"ELBO: free_bits has {free.shape[-1]} numbers, z has {groups} latent groups")
        free = free if terms.share is None else free * terms.share[..., None]
        return free if terms.scored is None else free * terms.scored

    @property
    def _has_free_bits(self) -> bool:
        return callable(self.free_bits) or bool(np.any(np.asarray(self.free_bits) > 0))

    @property
    def couples_data(self) -> bool:
        """Whether free nats are granted to the batch mean."""
        return self._has_free_bits and self.free_bits_over == "batch"

    @property
    def linear(self) -> bool:
        """Free nats put a kink into the loss."""
        return not self._has_free_bits

    @property
    def plain(self) -> bool:
        """β = 1 without free nats or balance."""
        return self.linear and self.kl_balance is None and not callable(self.beta) and self.beta == 1

    def _divergence(self, terms: Terms) -> Float[Array, "*draws groups"]:
        if terms.kl is None or self.closed_form_kl == "sampled":
            return terms.log_ratio
        return terms.kl


def _groups(inference: AbstractInference) -> tuple[int, ...] | None:
    """Return how many latent groups there may be, tracing laws on shapes; ``None`` where steps are groups."""
    model, posterior = inference.model, inference.posterior
    if not isinstance(model, AbstractLatentModel) or isinstance(model, HasRecurrence | HasMarkovLatents):
        return None

    def of_prior() -> Any:
        cond = jnp.zeros(model.cond_dim) if isinstance(model, HasCondition) else None
        cond = cond[None] if cond is not None and isinstance(model, HoldsLatent) else cond
        bound: Any = live(model, posterior)
        return _log_prob(bound.prior_of(cond))

    groups = jax.eval_shape(of_prior).shape
    if not isinstance(posterior, HasFamily):
        return (*groups, 1)  # a q without layers makes one group of a prior's layers
    family = posterior.family
    found = jax.eval_shape(lambda: _log_prob(family(jnp.zeros(family.num_params)))).shape
    return groups if found == groups else (1,)


def _log_prob(law: Any) -> Array:
    return jnp.atleast_1d(law.sample_and_log_prob(key=jax.random.key(0))[1])


def _has_closed_form(q: type, model: Any) -> bool:
    return isinstance(model, AbstractLatentModel) and has_kl(q, model.prior_law)
