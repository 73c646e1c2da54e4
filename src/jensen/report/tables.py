"""Tables printed in a terminal, with rich."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jensen.report import facts
from jensen.report import gap as gaps

if TYPE_CHECKING:
    from rich.table import Table

    from jensen.diagnose.gap import Gap
    from jensen.fit.result import Fitted


def gap_table(gap: Mapping[str, Any] | Gap, train: Mapping[str, Any] | Gap | None = None) -> Table:
    """Lay the gap out for a terminal, with what it means underneath.

    Args:
        gap: From ``diagnose.gap``, or the content of a ``gap.json``; nats per datum.
        train: The same on training rows, as a second column.

    Returns:
        A table for ``rich.print``.

    Example:
        >>> part = {"value": 0.5, "se": 0.1}
        >>> evidence = {"value": -2.0, "se": 0.1, "lower": -2.0, "upper": -2.0,
        ...             "lower_kind": "exact", "upper_kind": "exact"}
        >>> total, elbo = {"value": 1.0, "se": 0.1}, {"value": -3.0, "se": 0.1}
        >>> gap = {"log_evidence": evidence, "elbo": elbo, "approximation": part, "amortization": part,
        ...        "total": total, "simulated": None, "num_data": 9, "split": "test"}
        >>> gap_table(gap).row_count
        5
    """
    from rich.table import Table
    from rich.text import Text

    here, there = gaps.plain(gap), gaps.plain(train)
    assert here is not None
    split = here.get("split") or "here"
    table = Table(
        title="Where the bound is lost, nats per datum", title_justify="left", caption_justify="left"
    )
    table.add_column("")
    table.add_column(f"{split}, {_counted(here)}", justify="right", no_wrap=True)
    beside = {} if there is None else {name: value for name, value, _ in gaps.rows(there)}
    if there is not None:
        table.add_column(f"{there.get('split') or 'train'}, {_counted(there)}", justify="right")
    table.add_column("", style="dim")
    for name, value, note in gaps.rows(here):
        middle = [] if there is None else [Text(beside.get(name, ""))]
        table.add_row(name, Text(value), *middle, note)
    table.caption = Text("\n".join(gaps.reading(here, there)))
    return table


def _counted(gap: Mapping[str, Any]) -> str:
    count, noun = gap.get("num_data", "?"), gaps.noun(gap)
    return f"{count} {noun}{'s' * (count != 1)}"


def fit_table(fitted: Fitted) -> Table:
    """Summarize a fit for a terminal: the four choices, and how it went.

    Args:
        fitted: What a fit returned.

    Returns:
        A table for ``rich.print``.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for word, name, settings in facts.choices(fitted.inference):
        table.add_row(word, Text(f"{name}({settings})" if settings else name))
    if len(fitted.history.bound):
        table.add_row("bound", f"{fitted.history.bound[-1]:.3f} nats per datum at the last step")
    if len(fitted.history.validation):
        table.add_row("validation", f"{fitted.history.validation.max():.3f} nats per datum at best")
    for name, value in facts.course(fitted):
        table.add_row(name, Text(value))
    return table
