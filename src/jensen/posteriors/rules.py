"""Rules that several posteriors share."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractLatentModel,
    ChecksData,
    HasCondition,
    HasCoordinateAscent,
    HasExactEvidence,
    HasExactPosterior,
    HasLatentDim,
    HasMarkovLatents,
    HasRecurrence,
    HoldsData,
    HoldsLatent,
    Verdict,
)
from jensen.dist import AbstractEnumerable, Bernoulli, Categorical, Codes, Empty, Gamma, OneHot
from jensen.families import AbstractFamily, AbstractPathFamily, Placed

_SPACES: tuple[type, ...] = (Categorical, OneHot, Bernoulli, Codes, Gamma)
_USE = {
    Categorical: "families.Categorical",
    OneHot: "families.OneHot",
    Bernoulli: "families.Bernoulli",
    Codes: "posteriors.VectorQuantized",
    Gamma: "families.Gamma",
    object: "families.DiagGaussian",
}


def family_matches_prior(family: AbstractFamily, model: Any) -> Verdict:
    """Refuse a family whose samples do not live where the model's prior does."""
    if isinstance(model, HasCoordinateAscent):
        name = type(model).__name__
        return Verdict("refused", f"{name} has a conjugate prior; use posteriors.Conjugate, as fit.em does")
    latent = isinstance(model, AbstractLatentModel)
    if isinstance(model, HasExactEvidence) and (not latent or model.prior_law is Empty):
        name = type(model).__name__
        return Verdict("refused", f"{name} has no latents to infer; use posteriors.Exact()")
    if isinstance(model, HoldsData):
        return _density_matches(family, model)
    if not latent:
        return Verdict("exact")
    if isinstance(model, HasRecurrence | HasMarkovLatents):
        if isinstance(family, AbstractPathFamily):
            return _path_matches(family, model)
        exact = isinstance(model, HasExactPosterior)
        deep = "posteriors.Smoothing or posteriors.Filtering, or on short ones families.GaussianMarkov"
        use = "posteriors.Exact" if exact else deep
        return Verdict("refused", f"{type(model).__name__}: its latents are a path over time; use {use}")
    if refusal := no_paths(family, f"a {type(model).__name__}, which has no steps"):
        return refusal
    q, p = family.law, model.prior_law
    if space(q) is not space(p):
        return Verdict(
            "refused",
            f"{type(family).__name__} family with a {p.__name__} prior: they live on different spaces; "
            f"use {_USE.get(space(p), 'a family over the same values')}, or change the model's prior",
        )
    if isinstance(model, HasLatentDim) and family.latent_dim != model.latent_dim:
        return Verdict(
            "refused",
            f"{type(family).__name__} family of length {family.latent_dim} with a model whose latents have "
            f"length {model.latent_dim}; use families.{_named(family)} of the model's length",
        )
    return Verdict("exact")


def reads_condition(posterior: Any, model: Any) -> Verdict | None:
    """Refuse a network of one row for units of many, and one that does not read the model's condition.

    Args:
        posterior: One with ``cond_dim``, which sees one row with its condition.
        model: The model.
    """
    name, kind = type(posterior).__name__, type(model).__name__
    if isinstance(model, HoldsData):
        return Verdict("refused", f"{name}: {kind} has no rows to infer z from; use posteriors.Global")
    if isinstance(model, HoldsLatent):
        return Verdict("refused", f"{name}: {kind} has one z behind many rows; use posteriors.Pooled")
    return same_condition(posterior, model)


def same_columns(posterior: Any, model: Any) -> Verdict | None:
    """Refuse a network that reads rows of another length than the model's."""
    name, kind = type(posterior).__name__, type(model).__name__
    if isinstance(model, ChecksData) and model.data_dim != posterior.data_dim:
        return Verdict(
            "refused",
            f"{name} reads {posterior.data_dim} columns, {kind} has {model.data_dim}; "
            f"use posteriors.{name}(..., data_dim={model.data_dim})",
        )
    return None


def same_condition(posterior: Any, model: Any) -> Verdict | None:
    """Refuse a network that reads another number of columns of the condition than the model."""
    name, kind = type(posterior).__name__, type(model).__name__
    if isinstance(model, HasCondition) and model.cond_dim != posterior.cond_dim:
        return Verdict(
            "refused",
            f"{name} reads {posterior.cond_dim} columns of cond, {kind} has {model.cond_dim}; "
            f"use posteriors.{name}(..., cond_dim={model.cond_dim})",
        )
    return None


def no_paths(family: AbstractFamily, where: str) -> Verdict | None:
    """Refuse a family of paths where another kind of law is wanted."""
    if not isinstance(family, AbstractPathFamily):
        return None
    return Verdict(
        "refused",
        f"{type(family).__name__} is a family of paths, not for {where}; use families.FullGaussian, or "
        "posteriors.PerDatum on a model of sequences",
    )


def _density_matches(family: AbstractFamily, model: HoldsData) -> Verdict:
    name, kind = type(family).__name__, type(model).__name__
    if refusal := no_paths(family, f"a {kind}, which has no steps"):
        return refusal
    if space(family.law) is not object:
        return Verdict(
            "refused", f"{name} family with a {kind}, whose z is a real vector; use families.FullGaussian"
        )
    if family.latent_dim != model.latent_dim:
        return Verdict(
            "refused",
            f"{name} family of length {family.latent_dim} with a {kind} of {model.latent_dim} unconstrained "
            f"numbers; use families.{_named(family)}(model.latent_dim)",
        )
    return Verdict("exact")


def _path_matches(family: AbstractPathFamily, model: Any) -> Verdict:
    discrete = isinstance(model, HasRecurrence) and space(model.step_law) is not object
    if discrete or not isinstance(model, HasLatentDim):
        use = "posteriors.Exact" if isinstance(model, HasExactPosterior) else "posteriors.Filtering"
        return Verdict(
            "refused",
            f"{type(family).__name__} family with a {type(model).__name__}, whose states are discrete; "
            f"use {use}",
        )
    if family.latent_dim != model.latent_dim:
        return Verdict(
            "refused",
            f"{type(family).__name__} family of length {family.latent_dim} a step with a model whose states "
            f"have length {model.latent_dim}; use families.{type(family).__name__} of the model's length",
        )
    return Verdict("exact")


def _named(family: AbstractFamily) -> str:
    """Return the class whose length is chosen: of a placed family, the base's."""
    return type(family.base if isinstance(family, Placed) else family).__name__


def space(law: type) -> type:
    """Return the discrete law a type descends from, or ``object`` for continuous ones."""
    for kind in _SPACES:
        if issubclass(law, kind):
            return kind
    return AbstractEnumerable if issubclass(law, AbstractEnumerable) else object
