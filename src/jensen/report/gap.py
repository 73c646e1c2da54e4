"""The gap between the bound and log p(x): its rows, and what it says in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jensen.diagnose.gap import Gap

KINDS = {
    "exact": "exact",
    "stochastic-bound": "a bound that holds in expectation, estimated by sampling",
    "heuristic": "an estimate without a guarantee",
}


def plain(gap: Mapping[str, Any] | Gap | None) -> dict[str, Any] | None:
    """Return the content of ``gap.json`` as a dictionary, with the flags and the training bound if known."""
    if gap is None or isinstance(gap, Mapping):
        return None if gap is None else dict(gap)
    trained = None if gap.training_bound is None else gap.training_bound.to_json()
    return {**gap.to_json(), "flags": list(gap.flags), "training_bound": trained}


def number(part: Mapping[str, Any] | None, sign: str = "") -> str:
    """Write a value with its standard error, or ``unknown``."""
    if part is None or part.get("value") is None:
        return "unknown"
    value, se = float(part["value"]), part.get("se")
    digits = 2 if se is None or se >= 0.01 or se == 0 else 3
    text = f"{value:{sign}.{digits}f}"
    return text if not se else f"{text} ± {float(se):.{digits}f}"


def minus(text: str) -> str:
    """Set a true minus sign before numbers, and keep an interval and a value ± its error on one line."""
    text = re.sub(r"(?<![\w–-])-(?=\d)", "−", text)
    text = re.sub(r"(\[[−\d.]+), ", "\\1,\u00a0", text)
    return re.sub(r"(?<=\d) ± (?=\d)", "\u00a0±\u00a0", text)


def crossing(evidence: Mapping[str, Any]) -> float:
    """Return by how many nats the two sides of log p(x) cross: 0 where the lower is not above the upper."""
    low, high = evidence.get("lower"), evidence.get("upper")
    return 0.0 if low is None or high is None else max(0.0, float(low) - float(high))


def interval(evidence: Mapping[str, Any]) -> str:
    """Write what the two sides say of log p(x): a number, an interval, or ``≈`` where they cross.

    Example:
        >>> interval({"lower": -16.95, "upper": -16.7}), interval({"lower": -1846.462, "upper": -1846.510})
        ('[-16.95, -16.70]', '≈ -1846.5')
    """
    if across := crossing(evidence):
        digits = min(2, max(0, math.floor(-math.log10(across))))  # no digit finer than the error
        return f"≈ {(evidence['lower'] + evidence['upper']) / 2:.{digits}f}"
    low, high = (None if evidence.get(k) is None else f"{evidence[k]:.2f}" for k in ("lower", "upper"))
    if low is not None and low == high:
        return low
    return f"[{low or '−∞'}, {high or 'no upper side'}]"


def size(nats: float) -> str:
    """Write a width or an error."""
    return f"{nats:.2f}" if nats >= 0.01 else "less than 0.01"


def is_exact(evidence: Mapping[str, Any]) -> bool:
    """Say whether log p(x) is known in closed form."""
    return "exact" == evidence.get("lower_kind") == evidence.get("upper_kind")


def is_zero(gap: Mapping[str, Any]) -> bool:
    """Say whether there is no gap to draw: the posterior is exact."""
    return is_exact(gap["log_evidence"]) and all(
        gap[name]["value"] is None or abs(gap[name]["value"]) < 1e-6
        for name in ("total", "approximation", "amortization")
    )


def noun(gap: Mapping[str, Any]) -> str:
    """What one datum is called."""
    return "sequence" if gap.get("per_step") else "row"


STEPS = {
    "ELBO": "elbo",
    "+ amortization gap": "amortization",
    "+ approximation gap": "approximation",
    "= log p(x)": "log_evidence",
    "log p(x)": "log_evidence",
    "total gap": "total",
    "  of it, seeing the past only": "causality",
}
"""Rows of the table that are also known per step, and their names in ``gap.json``."""


def per_step(gap: Mapping[str, Any]) -> dict[str, str]:
    """Return rows of the table in nats per step, all nats over all steps; empty for what is no sequence."""
    each = gap.get("per_step") or {}
    return {row: f"{each[name]:.3f}" for row, name in STEPS.items() if each.get(name) is not None}


def rows(gap: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the gap out as a table.

    Args:
        gap: The content of ``gap.json``.

    Returns:
        (quantity, value in nats per datum, what it means), from the ELBO up to log p(x).
    """
    evidence, exact = gap["log_evidence"], is_exact(gap["log_evidence"])
    if is_zero(gap):
        return [("log p(x)", number(evidence), "exact: no gap"), *_simulated(gap)]
    lines = [
        ("ELBO", number(gap["elbo"]), "the plain bound, β = 1, one draw, whatever was trained"),
        (
            "+ amortization gap",
            number(gap["amortization"]),
            f"what the encoder loses against the best q per {noun(gap)}",
        ),
        ("+ approximation gap", number(gap["approximation"]), "what the family cannot express"),
        ("= log p(x)", number(evidence), "the evidence" + ", exact" * exact),
    ]
    for side in ("lower", "upper"):
        if evidence.get(side) is not None and not exact:
            kind = evidence.get(f"{side}_kind") or ""
            lines.append(
                (
                    f"  {side} side",
                    f"{evidence[side]:.2f}",
                    f"{kind}: {KINDS[kind]}" if kind in KINDS else kind,
                )
            )
    lines.append(("total gap", number(gap["total"]), "log p(x) − ELBO = KL(q(z|x) ‖ p(z|x))"))
    if gap.get("causality"):
        note = "L[a smoothing q] − ELBO: what q loses by not looking ahead; no fault of the encoder"
        lines.append(("  of it, seeing the past only", number(gap["causality"]), note))
    if gap.get("training_bound"):
        lines.append(("bound trained on", number(gap["training_bound"]), "the objective's own bound"))
    return [*lines, *_simulated(gap)]


def _simulated(gap: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Write the check on simulated rows as a row of the table, if there is one."""
    simulated = gap.get("simulated")
    if not simulated:
        return []
    level = float(simulated.get("confidence", 0.95))
    sure = "exact" if level == 1 else f"certified at {100 * level:.0f}%, {simulated['width']:.2f} wide"
    note = f"a check on data drawn from the model itself, not your data; {sure}"
    return [(f"log p(x), simulated {noun(gap)}s", interval(simulated), note)]


def split(gap: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return the total gap, the family's part and the encoder's; ``None`` where it could not be split."""
    parts = [gap[k]["value"] for k in ("total", "approximation", "amortization")]
    return None if any(v is None for v in parts) else (float(parts[0]), float(parts[1]), float(parts[2]))


def _by_share(gap: Mapping[str, Any]) -> str:
    parts = split(gap)
    if parts is None:
        return "The gap could not be split between family and encoder."
    total, family, encoder = parts
    if total <= max(2 * float(gap["total"].get("se") or 0.0), 0.005) and max(family, encoder) < 0.05:
        return "The bound is tight: q matches the posterior p(z|x) as far as this measurement can see."
    if encoder > 0.6 * total:
        return (
            f"Most of the gap is the encoder's: {encoder:.2f} of {total:.2f} nats. The family holds better "
            "posteriors than the network finds; try a wider encoder, longer training, or one posterior per "
            "datum (posteriors.PerDatum)."
        )
    if family > 0.6 * total:
        return (
            f"Most of the gap is the family's: {family:.2f} of {total:.2f} nats. Even its best member per "
            f"{noun(gap)} differs from p(z|x) by that much; try a richer one, such as a low-rank or full "
            "covariance in place of a diagonal Gaussian."
        )
    return (
        f"The gap of {total:.2f} nats is shared: {encoder:.2f} are the encoder's, {family:.2f} the family's."
    )


def _certainty(evidence: Mapping[str, Any]) -> str:
    low, high = evidence.get("lower"), evidence.get("upper")
    if is_exact(evidence):
        return "log p(x) is known exactly here."
    if low is None or high is None:
        return "Only one side of log p(x) is known, so the gaps above it are bounds too."
    if across := crossing(evidence):
        return (
            f"log p(x) is {interval(evidence)}; the two estimates of it cross by {size(across)}: "
            "take that as the error."
        )
    note = "; its upper side is heuristic and may lie below the truth" * (
        evidence.get("upper_kind") == "heuristic"
    )
    return f"log p(x) itself is bracketed to {size(float(high) - float(low))} nats{note}."


def _exactly(gap: Mapping[str, Any]) -> str:
    """Say all there is to say where the posterior is exact."""
    on = f" ({gap['split']})" if gap.get("split") else ""
    one, count = noun(gap), gap.get("num_data")
    rows = f"{count} {one}{'s' * (count != 1)}{on}" if count else f"the {one}s measured"
    error = f"; ± is the standard error over {rows}" if gap["log_evidence"].get("se") else f", over {rows}"
    each = per_step(gap)
    steps = f" ({each['log p(x)']} per step)" if each else ""
    return f"log p(x) is {number(gap['log_evidence'])} nats per {one}{steps}, exact: no gap{error}."


def errors(gap: Mapping[str, Any]) -> str:
    """Say what the two kinds of error are: over rows, and of the estimate itself."""
    one = noun(gap)
    said = f"± is the standard error over {one}s: another draw of {one}s would move the numbers by that much."
    evidence = gap["log_evidence"]
    if is_exact(evidence) or evidence.get("upper") is None or crossing(evidence):
        return said
    return said + f" The interval between the two sides is the error of estimating log p(x) on these {one}s."


def reading(gap: Mapping[str, Any], train: Mapping[str, Any] | None = None) -> list[str]:
    """Say in plain sentences what the numbers mean.

    Args:
        gap: The content of ``gap.json`` on the data reported.
        train: The same on training rows, when both were measured.

    Returns:
        One sentence or more, the flags raised by the evaluation last.
    """
    if is_zero(gap):
        said = [_exactly(g) for g in (gap, train) if g is not None]
    else:
        said = [f"{_by_share(gap)} {_certainty(gap['log_evidence'])}"]
    if train is not None and split(gap) and split(train):
        here, there = (float(g["amortization"]["value"]) for g in (gap, train))
        noise = sum(float(g["amortization"].get("se") or 0) for g in (gap, train))
        if here - there > max(0.1, 2 * noise):
            said.append(
                f"The encoder overfits: it loses {here:.2f} nats on these rows, {there:.2f} on training rows."
            )
    return [*said, *(f"Note: {flag}." for flag in gap.get("flags", ()))]
