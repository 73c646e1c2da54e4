"""Four choices, bound together."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

import equinox as eqx
import jax

from jensen.core.datum import Datum
from jensen.core.gradient import AbstractGradient
from jensen.core.model import (
    AbstractLatentModel,
    AbstractModel,
    InitializesFromData,
    LooksAtPosterior,
    live,
)
from jensen.core.objective import AbstractObjective, LogMeanOfWeights
from jensen.core.posterior import AbstractPosterior, SharesLatent, StartsFromModel
from jensen.core.verdict import AbstractInference, Verdict, worst
from jensen.dist import AbstractDistribution
from jensen.errors import CombinationError, JensenWarning
from jensen.typing import PRNGKey, Scalar


class Inference(AbstractInference):
    """A model, how its latents are inferred, what is climbed, and how the climb is estimated.

    Args:
        model: p(x, z | c).
        posterior: q(z | x, c).
        objective: The bound.
        gradient: The gradient estimator.

    Raises:
        CombinationError: When the four do not fit; the message names what to use instead.

    Example:
        >>> import jax, jensen as jn
        >>> model = jn.models.ProbabilisticPCA(data_dim=4, latent_dim=2, key=jax.random.key(0))
        >>> fit = jn.Inference(
        ...     model, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> fit.check().kind
        'exact'
    """

    # held loosely: what a member can do besides its socket's contract is asked by isinstance where it is used
    model: Any
    posterior: Any
    objective: Any
    gradient: Any

    def __init__(
        self,
        model: AbstractModel,
        posterior: AbstractPosterior,
        objective: AbstractObjective,
        gradient: AbstractGradient,
    ):
        for value, kind, word in (
            (model, AbstractModel, "model"),
            (posterior, AbstractPosterior, "posterior"),
            (objective, AbstractObjective, "objective"),
            (gradient, AbstractGradient, "gradient"),
        ):
            if not isinstance(value, kind):
                raise CombinationError(
                    f"{type(value).__name__} is not a {word}: "
                    "Inference takes (model, posterior, objective, gradient) in this order"
                )
        self.model = model
        self.posterior = posterior
        self.objective = objective
        self.gradient = gradient
        verdict = self.check()
        if verdict.kind == "refused":
            raise CombinationError(verdict.reason)
        if verdict.kind == "unverified":
            _warn_caller(verdict.reason)

    def check(self) -> Verdict:
        """Judge the combination by the rules each member brings.

        Returns:
            The worst of the members' verdicts: ``exact``, ``unbiased``, ``unverified``, ``biased`` or
            ``refused``, with one line of reason.
        """
        inferred = self.posterior.rule(self)
        if inferred.kind == "refused":
            return inferred  # the others would judge a law that is not there
        verdicts = [inferred, self.objective.rule(self), self.gradient.rule(self)]
        if isinstance(self.model, LooksAtPosterior):
            verdicts.append(self.model.rule(self))
        verdict = worst(*verdicts)
        if verdict.kind in ("biased", "refused"):
            return verdict  # worse than what classes of the user's own would add: no need to look for them
        members = (self.model, self.posterior, self.objective, self.gradient)
        own = dict.fromkeys(name for member in members for name in _own(member))
        if not own:
            return verdict
        why = f"{', '.join(own)}: not jensen's own, so nothing here vouches for its gradient"
        return worst(verdict, Verdict("unverified", why))

    def bound_model(self) -> Any:
        """Return the model as the draws see it: a prior made from the live posterior is made here."""
        return live(self.model, self.posterior)

    def share(self, num_data: Any) -> Any:
        """Return the part of the prior and of q one datum answers for: 1, or 1/N for one shared z.

        Raises:
            CombinationError: If z is shared by several data under a bound that does not add over data, or a
                model that does not part its prior from its likelihood.
        """
        if not isinstance(self.posterior, SharesLatent):
            return 1.0
        alone = isinstance(num_data, int) and num_data == 1
        if not alone and not isinstance(self.model, AbstractLatentModel):
            raise CombinationError(
                f"{type(self.model).__name__}.log_joint does not part the likelihood from the prior, which "
                f"counts once for {num_data} data that share z; subclass core.AbstractLatentModel, or make "
                "them one datum"
            )
        if isinstance(self.objective, LogMeanOfWeights) and not alone:
            raise CombinationError(
                f"{type(self.objective).__name__} is not additive over the {num_data} data that share one z; "
                "use objectives.ELBO()"
            )
        return 1.0 / num_data

    def q(self, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Infer the latents of one datum."""
        return self.posterior(self.bound_model(), datum, key=key)

    def bound(self, datum: Datum, *, key: PRNGKey, num_data: Any = 1) -> Scalar:
        """Return one estimate of the objective's plain bound on log p(x), in nats, for one datum."""
        to_q, to_draws = jax.random.split(key)
        model = self.bound_model()
        q = self.posterior(model, datum, key=to_q)
        terms = self.objective.draw(model, q, datum, key=to_draws, share=self.share(num_data))
        return self.objective.bound(terms)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Inference:
        """Return a copy whose members have chosen a start from the data, where they can and have not yet."""
        to_model, to_posterior = jax.random.split(key)
        model = _started(self.model, rows, key=to_model)
        posterior = _started(self.posterior, rows, key=to_posterior)
        if isinstance(posterior, StartsFromModel) and not posterior.initialized:
            posterior = posterior.start_from(live(model, posterior), rows, key=to_posterior)
        return Inference(model, posterior, self.objective, self.gradient)


_INSIDE = ("jensen", "equinox", "jax", "jaxtyping", "beartype")


def _warn_caller(message: str) -> None:
    """Warn at the nearest line that is not a library's.

    Equinox, and type checkers around it, put frames of their own between a class and who calls it, and their
    number differs by version: so frames are looked at, not counted as a ``stacklevel`` is.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        JensenWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__", "__main__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_inside(frame: FrameType) -> bool:
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package in _INSIDE or frame.f_code.co_filename.startswith("<@beartype")


def _started(member: Any, rows: Datum, *, key: PRNGKey) -> Any:
    if isinstance(member, InitializesFromData) and not member.initialized:
        return member.initialize_from(rows, key=key)
    return member


def _own(part: Any) -> Iterator[str]:
    """Name the user's own classes among a member and its parts: a family, a prior, a baseline.

    Networks are anyone's and vouch for nothing, so only what descends from a class of jensen's counts.
    """
    if not isinstance(part, eqx.Module):
        return
    if not _ours(type(part)) and any(_ours(base) for base in type(part).__mro__):
        yield type(part).__name__
    for field in dataclasses.fields(part):
        yield from _own(getattr(part, field.name))


def _ours(cls: type) -> bool:
    return cls.__module__.startswith("jensen.")
