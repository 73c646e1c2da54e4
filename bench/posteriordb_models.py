"""Seven posteriors of posteriordb as log-densities of ours, beside their reference draws.

The densities are those of the Stan programs, priors included, up to constants. What is reported is ordered as
the reference draws are.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.scipy.stats import beta, cauchy, norm

import jensen as jn


@dataclass(frozen=True)
class Problem:
    """One posterior.

    Attributes:
        name: As in posteriordb.
        model: The log-density.
        report: Parameters of one draw -> the vector that the reference draws hold.
        labels: Names of its entries.
        reference: Reference draws, (S, P).
    """

    name: str
    model: Any
    report: Callable[[dict[str, Any]], Any]
    labels: tuple[str, ...]
    reference: np.ndarray

    def errors(self, values: dict[str, np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
        """Return (μ − μ_ref)/σ_ref and (σ − σ_ref)/σ_ref of every parameter, (2, P)."""
        draws = np.asarray(jax.vmap(self.report)(values), np.float64)
        weights = np.full(len(draws), 1 / len(draws)) if weights is None else weights
        mean = weights @ draws
        sd = np.sqrt(weights @ (draws - mean) ** 2)
        centre, spread = self.reference.mean(0), self.reference.std(0)
        return np.stack([(mean - centre) / spread, sd / spread - 1])


def folder() -> Path:
    """The folder of reference posteriors, in the optional data folder."""
    return Path(os.environ.get("JENSEN_DATA", "../shared/data")) / "posteriordb"


def problem(name: str) -> Problem:
    """Read one of ``NAMES``."""
    data_name, make = NAMES[name]
    with zipfile.ZipFile(folder() / f"{data_name}.data.json.zip") as archive:
        data = json.loads(archive.read(archive.namelist()[0]))
    log_joint, shapes, constraints, arrays, report = make(data)
    model = jn.models.LogDensity(log_joint, shapes, constraints, data=arrays)
    with np.load(folder() / f"{data_name}-{name}.npz", allow_pickle=False) as file:
        draws, labels = file["draws"], tuple(str(n) for n in file["names"])
    return Problem(name, model, report, labels, draws.reshape(-1, draws.shape[-1]))


def in_order(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda p: jnp.concatenate([jnp.ravel(p[name]) for name in names])


def _reals(*columns: Any) -> tuple[Any, ...]:
    return tuple(np.asarray(column, np.float32) for column in columns)


# ------------------------------------------------------------------------------------- regressions


def flat_regression(p: dict[str, Any], data: Any) -> Any:
    y, x = data
    return norm.logpdf(y, x @ p["beta"], p["sigma"]).sum()


def kid_score(p: dict[str, Any], data: Any) -> Any:
    return flat_regression(p, data) + cauchy.logpdf(p["sigma"], 0.0, 2.5)


def blr(p: dict[str, Any], data: Any) -> Any:
    prior = norm.logpdf(p["beta"], 0.0, 10.0).sum() + norm.logpdf(p["sigma"], 0.0, 10.0)
    return flat_regression(p, data) + prior


def autoregression(p: dict[str, Any], y: Any) -> Any:
    order = len(p["beta"])
    past = jnp.stack([y[order - k : len(y) - k] for k in range(1, order + 1)], 1)
    prior = norm.logpdf(p["alpha"], 0.0, 10.0) + norm.logpdf(p["beta"], 0.0, 10.0).sum()
    prior += cauchy.logpdf(p["sigma"], 0.0, 2.5)
    return prior + norm.logpdf(y[order:], p["alpha"] + past @ p["beta"], p["sigma"]).sum()


def _regression(log_joint: Any, y: Any, *columns: Any) -> Any:
    x = np.stack(_reals(*columns), 1)
    shapes = {"beta": (x.shape[1],), "sigma": ()}
    return log_joint, shapes, {"sigma": "positive"}, (*_reals(y), x), in_order(*shapes)


def make_blr(data: Any) -> Any:
    return _regression(blr, data["y"], *np.asarray(data["X"]).T)


def make_kid_score(data: Any) -> Any:
    hs, iq = _reals(data["mom_hs"], data["mom_iq"])
    return _regression(kid_score, data["kid_score"], np.ones(len(iq)), hs, iq, hs * iq)


def make_nes(data: Any) -> Any:
    age = np.asarray(data["age_discrete"])
    ages = [age == k for k in (2, 3, 4)]
    first = [np.ones(len(age)), data["real_ideo"], data["race_adj"]]
    last = [data["educ1"], data["gender"], data["income"]]
    return _regression(flat_regression, data["partyid7"], *first, *ages, *last)


def make_autoregression(data: Any) -> Any:
    shapes = {"alpha": (), "beta": (data["K"],), "sigma": ()}
    return autoregression, shapes, {"sigma": "positive"}, _reals(data["y"])[0], in_order(*shapes)


# --------------------------------------------------------------------------- hierarchy, mixture, HMM


def schools(p: dict[str, Any], data: Any) -> Any:
    y, se = data
    prior = norm.logpdf(p["trans"]).sum() + norm.logpdf(p["mu"], 0.0, 5.0) + cauchy.logpdf(p["tau"], 0.0, 5.0)
    return prior + norm.logpdf(y, p["trans"] * p["tau"] + p["mu"], se).sum()


def make_schools(data: Any) -> Any:
    shapes = {"trans": (data["J"],), "mu": (), "tau": ()}

    def report(p: dict[str, Any]) -> Any:
        return jnp.concatenate([p["trans"] * p["tau"] + p["mu"], jnp.stack([p["mu"], p["tau"]])])

    return schools, shapes, {"tau": "positive"}, _reals(data["y"], data["sigma"]), report


def mixture(p: dict[str, Any], y: Any) -> Any:
    prior = norm.logpdf(p["mu"], 0.0, 2.0).sum() + norm.logpdf(p["sigma"], 0.0, 2.0).sum()
    prior += beta.logpdf(p["theta"], 5.0, 5.0)
    each = norm.logpdf(y[:, None], p["mu"], p["sigma"])
    log_odds = jnp.stack([jnp.log(p["theta"]), jnp.log1p(-p["theta"])])
    return prior + logsumexp(each + log_odds, axis=1).sum()


def make_mixture(data: Any) -> Any:
    shapes = {"mu": (2,), "sigma": (2,), "theta": ()}
    constraints = {"mu": "ordered", "sigma": "positive", "theta": "unit"}
    return mixture, shapes, constraints, _reals(data["y"])[0], in_order(*shapes)


def hmm(p: dict[str, Any], y: Any) -> Any:
    log_move = jnp.log(jnp.stack([p["theta1"], p["theta2"]]))
    each = norm.logpdf(y[:, None], p["mu"], 1.0)

    def step(alpha: Any, seen: Any) -> Any:
        return logsumexp(alpha[:, None] + log_move, axis=0) + seen, None

    last, _ = jax.lax.scan(step, each[0], each[1:])
    return norm.logpdf(p["mu"], jnp.array([3.0, 10.0]), 1.0).sum() + logsumexp(last)


def make_hmm(data: Any) -> Any:
    shapes = {"theta1": (2,), "theta2": (2,), "mu": (2,)}
    constraints = {"theta1": "simplex", "theta2": "simplex", "mu": "positive_ordered"}
    return hmm, shapes, constraints, _reals(data["y"])[0], in_order(*shapes)


NAMES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "blr": ("sblrc", make_blr),
    "kidscore_interaction": ("kidiq", make_kid_score),
    "nes": ("nes2000", make_nes),
    "arK": ("arK", make_autoregression),
    "eight_schools_noncentered": ("eight_schools", make_schools),
    "low_dim_gauss_mix": ("low_dim_gauss_mix", make_mixture),
    "hmm_example": ("hmm_example", make_hmm),
}
REGULAR = tuple(name for name in NAMES if name != "eight_schools_noncentered")
"""Where full and flow families are held to a tenth of a reference standard deviation."""
