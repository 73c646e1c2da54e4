"""Small aligned tables for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jensen.diagnose.gap import Gap
    from jensen.diagnose.simulated import Bracket


def columns(rows: list[tuple[str, ...]]) -> str:
    """Align cells: the first column to the left, the others to the right.

    Example:
        >>> print(columns([("a", "1.0"), ("long", "10.0")]))
        a      1.0
        long  10.0
    """
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(row[1:], width[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def number(value: float | None) -> str:
    """Write three decimals, or ``n/a``."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.3f}"


def gap_table(gap: Gap) -> str:
    """Write the decomposition as a table with its settings and flags."""

    def row(name: str, estimate: Any) -> tuple[str, ...]:
        value, se = estimate
        cells = name, number(value), "" if math.isnan(se) else f"± {se:.3f}"
        if not gap.mean_steps:
            return cells
        return (*cells, "" if math.isnan(value) else f"{number(value / gap.mean_steps)} a step")

    evidence = gap.log_evidence
    noun = "sequence" if gap.mean_steps else "row"
    many = f"{gap.num_data} {noun}{'s' * (gap.num_data != 1)}, {gap.split}"
    head = f"where the bound is lost ({gap.units}; {many}; ± is over {noun}s)"
    if evidence.lower_kind == "exact" and abs(gap.total.value) < 1e-6:
        lines = [head, columns([row("log p(x), no gap", (evidence.value, evidence.se))]), _sides(gap)]
        return "\n".join([*lines, *(f"! {flag}" for flag in gap.flags)])
    rows = [
        row("L[q], the plain ELBO", gap.elbo),
        row("+ amortization gap", gap.amortization),
        row("+ approximation gap", gap.approximation),
        row("= log p(x)", (evidence.value, evidence.se)),
        row("total gap", gap.total),
    ]
    if gap.causality is not None:
        rows.append(row("of it, seeing the past only", gap.causality))
    if gap.training_bound is not None:
        rows.append(row("bound trained on", gap.training_bound))
    lines = [head, columns(rows), _sides(gap)]
    if gap.simulated is not None:
        lines.append(_certified(gap.simulated, noun))
    return "\n".join([*lines, *(f"! {flag}" for flag in gap.flags)])


def _certified(bracket: Bracket, noun: str) -> str:
    rows = f"check on {bracket.num_data} {noun}s drawn from the model itself: log p(x)"
    if bracket.confidence == 1:
        return f"{rows} is {bracket.lower:.3f}, exactly"
    return (
        f"{rows} lies in [{bracket.lower:.3f}, {bracket.upper:.3f}] "
        f"(width {bracket.width:.3f}) with confidence {bracket.confidence:g}"
    )


def _sides(gap: Gap) -> str:
    evidence = gap.log_evidence
    if evidence.lower_kind == "exact":
        how = "summed over every value of z" if evidence.method == "enumerate" else "a closed form"
        return f"log p(x) is exact ({how})"
    how = ", ".join(f"{n} {name}" for name, n in evidence.settings.items())
    lower = f"{evidence.lower:.3f} ({evidence.lower_kind})"
    width = evidence.median_width
    if evidence.upper is None:
        text = f"log p(x) at least {lower}, no upper side"
    elif evidence.upper < evidence.lower:
        crossing = evidence.lower - evidence.upper
        text = (
            f"log p(x) about {lower}: the upper estimate ({evidence.upper_kind}) lies {crossing:.3f} "
            "below it, take that as the error"
        )
    else:
        text = f"log p(x) between {lower} and {evidence.upper:.3f} ({evidence.upper_kind})"
    return f"{text}\n{evidence.method}: {how}" + (
        "" if width is None else f"; median interval width {width:.3f}"
    )
