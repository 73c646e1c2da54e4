"""What a linear-Gaussian model found: states with bands, and what its eigenvalues say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.models.sequence import LinearGaussianSSM
from jensen.report import bands, blocks
from jensen.report import figure as look
from jensen.report.series import Paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BORDER = 1e-3
"""How far from one a modulus counts as one."""


def dynamics(model: LinearGaussianSSM, paths: Paths | None) -> blocks.Section:
    """States over time, and how shocks fade: eigenvalues of a constant A, products of a changing one."""
    found = (_constant if model.transition_matrix.ndim == 2 else _changing)(model)
    if paths is not None:
        found.append(_states(paths))
    return blocks.Section("dynamics", "States and stability", found)


def _constant(model: LinearGaussianSSM) -> list[Any]:
    values = np.linalg.eigvals(model.transition_matrix).astype(complex)
    advice = (
        "Look at the eigenvalues of the transition matrix first, for they do not depend on the coordinates "
        f"that z is written in: {stability(values)}."
    )
    figure = look.drawn(lambda fig: circle(fig.subplots(), values), width=4.0, height=3.6)
    caption = "Eigenvalues and the unit circle: inside fades, outside grows, off the real axis swings."
    kept = sorted((v for v in values if v.imag >= -1e-9), key=lambda v: -abs(v))
    rows = [[_written(v), f"{abs(v):.4f}", in_words(v)] for v in kept[:20]]
    table = blocks.Table(["eigenvalue", "modulus", "what it does"], rows)
    return [blocks.Text([advice]), blocks.Figure(figure, caption), table]


def _changing(model: LinearGaussianSSM) -> list[Any]:
    """Show products of transitions: eigenvalues of each alone do not say what becomes of a shock."""
    logs, rate = log_gains(model.transition_matrix), model.spectral_radius
    fate = "stay" if abs(rate - 1) <= BORDER else "grow" if rate > 1 else "fade"
    advice = (
        "The transition matrix changes from step to step, so that only products of its values say what "
        f"becomes of a shock. Over all {len(logs)} steps shocks {fate}: the product's largest eigenvalue has "
        f"modulus {rate:.4f} per step."
    )

    def draw(fig: Figure) -> None:
        ax, t = fig.subplots(), np.arange(len(logs) + 1)
        ax.axhline(0, color=look.MUTED, lw=1.0)
        ax.plot(t, np.concatenate([[0.0], logs / np.log(10)]), color=look.BLUE, lw=1.2)
        ax.set_xlabel("steps after the first")
        ax.set_ylabel("log₁₀ of what is left")
        ax.grid(axis="y")

    caption = (
        "What is at most left of a shock to the first state, ‖A_t ⋯ A_1‖ in the coordinates that z is "
        "written in: downwards it fades, upwards it grows."
    )
    return [blocks.Text([advice]), blocks.Figure(look.drawn(draw, height=2.6), caption)]


def log_gains(matrices: np.ndarray) -> np.ndarray:
    """Return log ‖A_t ⋯ A_1‖ for every t, in the spectral norm; scaled on the way, so that none underflows.

    Args:
        matrices: A_1, A_2, …, (T − 1, n, n).

    Example:
        >>> log_gains(np.full((3, 1, 1), 0.5)).round(3).tolist()
        [-0.693, -1.386, -2.079]
    """
    total, log_size, out = np.eye(matrices.shape[-1]), 0.0, []
    for each in matrices:
        total = each @ total
        size = max(float(np.linalg.norm(total, 2)), np.finfo(float).tiny)
        total, log_size = total / size, log_size + np.log(size)
        out.append(log_size)
    return np.array(out)


def stability(values: np.ndarray) -> str:
    """Say what the largest eigenvalue means for forecasts."""
    radius = float(np.abs(values).max())
    if radius > 1 + BORDER:
        return f"the largest modulus is {radius:.4f}, unstable: what is left alone runs away exponentially"
    if radius < 1 - BORDER:
        return f"the largest modulus is {radius:.4f}, stable: forecasts return to a constant"
    return (
        f"the largest modulus is {radius:.4f}, on the border: shocks stay, as in a random walk, and the "
        "intervals of forecasts widen without end"
    )


def in_words(value: complex | float) -> str:
    """Say what one eigenvalue does.

    Example:
        >>> in_words(0.5), in_words(0.9 * np.exp(2j * np.pi / 12))
        ('halves every step', 'swings with a period of 12 steps, halves every 6.58 steps')
    """
    size, turn = abs(value), abs(float(np.angle(value)))
    if size < 0.05:
        return "is forgotten within a step"
    if size > 1 + BORDER:
        fate = f"doubles every {np.log(2) / np.log(size):.3g} steps"
    elif size > 1 - BORDER:
        fate = "stays"
    else:
        steps = np.log(0.5) / np.log(size)
        fate = "halves every step" if abs(steps - 1) < 0.005 else f"halves every {steps:.3g} steps"
    if abs(value.imag) < 1e-9:
        return fate if value.real > 0 else f"changes sign every step, {fate}"
    return f"swings with a period of {2 * np.pi / turn:.3g} steps, {fate}"


def _written(value: complex | float) -> str:
    return f"{value.real:.4f}" if abs(value.imag) < 1e-9 else f"{value.real:.4f} ± {abs(value.imag):.4f} i"


def circle(ax: Axes, values: np.ndarray) -> None:
    """Draw eigenvalues on the plane."""
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color=look.MUTED, lw=1.0)
    ax.axhline(0, color=look.RULE, lw=0.8, zorder=0)
    ax.axvline(0, color=look.RULE, lw=0.8, zorder=0)
    grows, real, imaginary = np.abs(values) > 1 + BORDER, np.real(values), np.imag(values)
    ax.plot(real[~grows], imaginary[~grows], "o", color=look.BLUE, ms=7, alpha=0.8)
    ax.plot(real[grows], imaginary[grows], "X", color=look.RED, ms=8)
    reach = 1.1 * max(1.0, float(np.abs(values).max()))
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    if reach < 2:
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
        ax.set_yticks([-1, -0.5, 0, 0.5, 1])
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")


def _states(paths: Paths) -> blocks.Figure:
    states, length = paths.states, int(paths.data.lengths[0])
    part = bands.window(length)
    t, dim = np.arange(part.start, length) + 1, states.mean.shape[-1]
    shown = min(dim, bands.PANELS)

    def draw(fig: Figure) -> None:
        axes = fig.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
        for i, ax in enumerate(axes):
            mean = states.mean[0, part, i]
            assert states.std is not None
            bands.band(ax, t, mean, states.std[0, part, i], color=look.BLUE, alpha=0.25)
            ax.plot(t, mean, color=look.BLUE, lw=1.2, marker="." if length == 1 else "")
            ax.set_ylabel(f"z{look_below(i + 1)}")
            ax.grid(axis="y")
        axes[-1].set_xlabel("step")

    text = f"{paths.name(0)}: states given the whole sequence, with {bands.PERCENT} bands"
    text = text[0].upper() + text[1:] + (f", first {shown} of {dim}." if shown < dim else ".")
    text += " States are fixed only up to a change of coordinates."
    return blocks.Figure(look.drawn(draw, height=0.7 + (1.9 if shown == 1 else 1.25 * shown)), text)


def look_below(number: int) -> str:
    """Write a number as an index."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
