"""Rules that several posteriors share."""

from __future__ import annotations

from typing import Any

from jensen.core import AbstractLatentModel, Verdict
from jensen.dist import AbstractEnumerable, Bernoulli, Categorical, OneHot
from jensen.families import AbstractFamily

_SPACES: tuple[type, ...] = (Categorical, OneHot, Bernoulli)


def family_matches_prior(family: AbstractFamily, model: Any) -> Verdict:
    """Refuse a family whose samples do not live where the model's prior does."""
    if not isinstance(model, AbstractLatentModel):
        return Verdict("unbiased")
    q, p = family.law, model.prior_law
    if space(q) is not space(p):
        return Verdict(
            "refused",
            f"{type(family).__name__} family with a {p.__name__} prior: they live on different spaces; "
            f"use a family of the prior's kind, or change the model's prior",
        )
    return Verdict("unbiased")


def space(law: type) -> type:
    """Return the discrete law a type descends from, or ``object`` for continuous ones."""
    for kind in _SPACES:
        if issubclass(law, kind):
            return kind
    return AbstractEnumerable if issubclass(law, AbstractEnumerable) else object
