"""How well a policy does, and whether it does all that was demonstrated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.control.collect.record import record
from jensen.control.imitation import Imitation
from jensen.control.policies.base import Policy
from jensen.control.statistics import Interval, divergence, entropy, wilson
from jensen.datasets import Episodes
from jensen.errors import InputError


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy did.

    Attributes:
        episodes: Its episodes, observations and all.
        seconds: Wall time.
        success: Share of successful episodes with its 95 % Wilson interval; None if nobody says.
        modes: How often each way was taken, by episodes that took one.
        reference: Share of each mode among the demonstrations; empty where none were given.
        divergence: KL(demonstrations' modes ‖ behaviour's), nats, each count of the behaviour raised by ½;
            None without either, or if no episode took a mode.
        nll: −log p per action on held-out episodes, nats; None where none were given.
        nll_kind: ``"exact"``, or ``"upper bound"`` where the density is only bounded.
    """

    episodes: Episodes
    seconds: float
    success: Interval | None = None
    modes: dict[str, int] | None = None
    reference: dict[str, float] | None = None
    divergence: float | None = None
    nll: float | None = None
    nll_kind: str = "exact"

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode, (N,)."""
        return self.episodes.returns

    @property
    def mean_return(self) -> Interval:
        """Mean return with its 95 % normal interval."""
        mean = float(self.returns.mean())
        half = (
            1.96 * float(self.returns.std(ddof=1)) / len(self.returns) ** 0.5
            if len(self.returns) > 1
            else 0.0
        )
        return Interval(mean, mean - half, mean + half)

    @property
    def shares(self) -> dict[str, float]:
        """Share of each mode among the episodes that took one."""
        counts = self.modes or {}
        return {mode: count / max(sum(counts.values()), 1) for mode, count in counts.items()}

    @property
    def entropy(self) -> float | None:
        """Entropy over modes, nats; None if nobody says which were taken."""
        return None if self.modes is None else entropy(self.modes)

    def rows(self) -> list[tuple[str, str]]:
        """Return the table: names and numbers."""
        lengths = self.episodes.lengths
        rows = [
            ("episodes", f"{len(self.episodes)} of {lengths.min()} to {lengths.max()} steps"),
            ("return", str(self.mean_return)),
        ]
        if self.success is not None:
            rows.insert(1, ("success", str(self.success)))
        if self.modes is not None:
            none = len(self.episodes) - sum(self.modes.values())
            taken = (
                ", ".join(f"{mode} {count}" for mode, count in self.modes.items() if count) or "none taken"
            )
            rows.append(
                ("modes", taken + (f"; {none} without" if none and none < len(self.episodes) else ""))
            )
            rows.append(("entropy over modes", f"{self.entropy:.3f} nats"))
        if self.reference:
            shares = ", ".join(f"{mode} {share:.2f}" for mode, share in self.reference.items())
            rows.append(("demonstrated", shares))
        if self.divergence is not None:
            rows.append(("KL from demonstrations", f"{self.divergence:.3f} nats (counts + ½)"))
        if self.nll is not None:
            bound = "at most " if self.nll_kind != "exact" else ""
            rows.append(("held-out −log p", f"{bound}{self.nll:.3f} nats per action"))
        return [*rows, ("seconds", f"{self.seconds:.1f}")]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def __repr__(self) -> str:
        return str(self)


def evaluate(
    policy: Policy | Imitation | Callable[[np.ndarray], Any],
    env: Any,
    episodes: int,
    *,
    seed: int = 0,
    demonstrations: Episodes | None = None,
    held_out: Episodes | None = None,
) -> Evaluation:
    """Let a policy act, and sum up what it did.

    Episodes that took no way, whose ``info["mode"]`` is ``""``, have no part in the frequencies of modes.

    Args:
        policy: A policy, an ``Imitation``, or any function from observations (N, S) to N actions.
        env: As in ``record``.
        episodes: How many.
        seed: Of the first episode; the following take the numbers after it.
        demonstrations: What the modes' frequencies are compared with.
        held_out: Episodes to take the density of actions on; needs an ``Imitation``.

    Returns:
        The evaluation, which prints as a table.

    Raises:
        InputError: As ``record``; ``held_out`` without a density.
    """
    learnt = policy if isinstance(policy, Imitation) else None
    if held_out is not None and learnt is None:
        raise InputError("evaluate: held_out needs a density of actions: give the Imitation, not its policy")
    began = time.perf_counter()
    done = record(env, policy.policy if isinstance(policy, Imitation) else policy, episodes, seed=seed)
    seconds = time.perf_counter() - began
    modes = _modes(done, demonstrations)
    reference = demonstrations.shares if demonstrations is not None else {}
    taken = modes if reference and modes is not None and sum(modes.values()) else None
    return Evaluation(
        done,
        seconds,
        None if done.successes is None else wilson(int(done.successes.sum()), len(done)),
        modes,
        reference,
        None if taken is None else divergence(reference, taken),
        None if held_out is None or learnt is None else learnt.nll(held_out),
        "exact" if learnt is None else learnt.nll_kind,
    )


def _modes(done: Episodes, demonstrations: Episodes | None) -> dict[str, int] | None:
    """Count modes; those demonstrated and never taken are listed with none. None where nobody names any."""
    counts = Counter(mode for mode in done.modes if mode)
    names = set(counts) | set(demonstrations.shares if demonstrations is not None else ())
    return {mode: counts[mode] for mode in sorted(names)} if done.modes and names else None
