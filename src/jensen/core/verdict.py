"""Four choices as their members see them, how well they fit together, and the words for it."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import equinox as eqx

Kind = Literal["exact", "unbiased", "unverified", "biased", "refused"]
_WORSE: tuple[Kind, ...] = ("exact", "unbiased", "unverified", "biased", "refused")


class Verdict(NamedTuple):
    """A judgement of a combination.

    Attributes:
        kind: ``exact`` (no sampling noise), ``unbiased``, ``biased`` (allowed, said), ``unverified`` (a
            user's own class) or ``refused``.
        reason: One line: why, and for a refusal what to use instead.
    """

    kind: Kind
    reason: str = ""


def worst(*verdicts: Verdict) -> Verdict:
    """Return the least favourable verdict; reasons of the same kind are joined."""
    kind = _WORSE[max(_WORSE.index(v.kind) for v in verdicts)]
    reasons = [v.reason for v in verdicts if v.kind == kind and v.reason]
    return Verdict(kind, "; ".join(dict.fromkeys(reasons)))


class AbstractInference(eqx.Module):
    """The four choices as their members see them: enough to judge a combination and to draw from it."""

    model: eqx.AbstractVar[Any]
    posterior: eqx.AbstractVar[Any]
    objective: eqx.AbstractVar[Any]
    gradient: eqx.AbstractVar[Any]

    @abstractmethod
    def bound_model(self) -> Any:
        """Return the model as the draws see it."""

    @abstractmethod
    def share(self, num_data: Any) -> Any:
        """Return the part of the prior and of q that one datum answers for."""
