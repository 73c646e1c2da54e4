"""What a report shows of sequences, preset by preset, and of sequences that are hardly there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jensen import families, gradients, models, posteriors, report, use
from jensen.datasets import Sequences
from jensen.errors import JensenWarning
from jensen.fit import Data
from jensen.fit.result import Fitted
from jensen.report import gap as gaps
from jensen.report import horizon, linear, regimes, sections, series
from jensen.report.figure import drawn

from .conftest import spread, unfitted
from .test_write import checked, headings

KEY, T = jax.random.key(0), 12
LENGTHS = np.array([12, 7, 1, 0])
TURN = 0.9 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])


def exactly(model: Any) -> Fitted:
    return unfitted(model, posteriors.Exact(), gradients.Analytic())


@pytest.fixture(scope="module")
def switching() -> Fitted:
    """Two states, two columns, covariances by column."""
    return exactly(
        models.HMM.with_parameters(
            [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], means=[[0.0, 1.0], [5.0, 3.0]],
            covariances=[[1.0, 0.5], [2.0, 0.25]], covariance="diag",
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def turning() -> Fitted:
    """A damped rotation seen through two columns far from zero."""
    return exactly(
        models.LinearGaussianSSM.with_parameters(
            TURN, 0.1 * np.eye(2), np.eye(2), [0.2, 0.4], initial=([1.0, 0.0], np.eye(2)),
            offsets=(np.zeros(2), np.array([900.0, 0.0])),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def ragged() -> Sequences:
    """Full, short, of one step and empty; steps and one whole sequence missing."""
    rng = np.random.default_rng(0)
    x = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], 900 + rng.normal(size=(4, T, 2)), 0.0)
    mask = np.ones(x.shape, bool)
    mask[0, 3:6] = mask[1] = False
    x = np.where(mask, x, np.nan)
    return Sequences(x, LENGTHS, ("level", "other"), "made", mask=mask)


def finite(text: str) -> None:
    """No coordinate of any figure is no number."""
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert not re.search(r"\b(nan|inf)\b", re.sub(r"<text.*?</text>", "", drawing, flags=re.DOTALL))
        assert len(re.findall(r"<path", drawing)) >= 5


def page(fitted: Fitted, data: Any, folder: Path, **more: Any) -> str:
    text = checked(report.write(folder / "r.html", fitted, dataset=data, **more))
    finite(text)
    return text


def test_hidden_markov_model(switching: Fitted, ragged: Sequences, tmp_path: Path) -> None:
    text = page(switching, ragged, tmp_path)
    assert headings(text) == ["Training", "Over time", "Regimes", "How far ahead it sees", "How it was made"]
    for said in ("Sequence 1", "nothing was observed", "missing", "forecast", "state 1", "level", "other"):
        assert said in text, said
    # mean stays are 1 / (1 − p): 10 and 5 steps
    assert re.search(r'<th scope="row">0</th><td>10</td><td>0.50</td>', text)
    assert re.search(r'<th scope="row">1</th><td>5</td>', text)
    assert "5\u00a0±\u00a01.41" in text and "3\u00a0±\u00a00.5" in text
    assert "4 sequences of up to 12 steps, 2 columns, 20 cells missing" in text


def test_background_changes_with_the_state() -> None:
    seen = []

    def draw(fig: Any) -> None:
        ax = fig.subplots()
        regimes.coloured(ax, np.arange(5) + 1, np.array([1, 1, 0, 0, 1]))
        seen.extend((p.get_x(), p.get_width(), p.get_facecolor()[:3]) for p in ax.patches)

    drawn(draw)
    assert [(x, w) for x, w, _ in seen] == [(0.5, 2), (2.5, 2), (4.5, 1)]
    assert seen[0][2] == seen[2][2] != seen[1][2]


def test_linear_gaussian(turning: Fitted, ragged: Sequences, tmp_path: Path) -> None:
    text = page(turning, ragged, tmp_path)
    assert "States and stability" in headings(text) and "Over time" in headings(text)
    assert "the largest modulus is 0.9000, stable" in text and "period of 10.5 steps" in text
    assert text.count("halves every 6.58 steps") == 1  # a pair is one oscillation


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "stays"),
        (1.1, "doubles every 7.27 steps"),
        (-0.5, "changes sign every step, halves every step"),
        (0.0, "forgotten"),
        (1j, "period of 4 steps, stays"),
    ],
)
def test_eigenvalues_in_words(value: complex, said: str) -> None:
    assert said in linear.in_words(value)
    assert ("unstable" in linear.stability(np.array([0.3, value]))) == (abs(value) > 1.001)


def test_bands_and_forecasts_are_those_of_use(turning: Fitted, ragged: Sequences) -> None:
    """Signal and noise add up; forecasts go on after each sequence's own end."""
    found = series.paths(turning.inference, ragged, key=KEY)
    assert found is not None and found.signal is not None
    assert found.spread is not None and found.known is not None
    np.testing.assert_array_equal(found.data.lengths, [12, 1, 7])  # the unobserved one last
    states = use.smooth(turning, Data.of(found.data))
    np.testing.assert_allclose(found.signal, states.signal, rtol=1e-6)
    extra = found.spread**2 - found.known**2
    np.testing.assert_allclose(extra[found.data.real], np.broadcast_to([0.2, 0.4], (20, 2)), rtol=1e-3)
    ahead = found.ahead
    assert ahead is not None and not ahead.known and ahead.mean.shape == (3, 3, 2)
    expected = use.forecast(turning, Data.of(found.data), horizon=3)
    np.testing.assert_allclose(ahead.mean, expected.mean, rtol=1e-6)
    assert ahead.upper is not None and expected.upper is not None
    np.testing.assert_allclose(ahead.upper, expected.upper, rtol=1e-6)


def test_variances_tell_tied_from_diagonal() -> None:
    values = np.array([[2.0, 0.5], [0.5, 3.0]])
    for covariance, expected in (("tied", [[2, 3], [2, 3]]), ("diag", values)):
        model = models.HMM.with_parameters(
            [0.5, 0.5],
            np.eye(2) * 0.8 + 0.1,
            means=np.zeros((2, 2)),
            covariances=values,
            covariance=covariance,
        )
        np.testing.assert_allclose(series.variances(model), expected, rtol=1e-5)


def pictures(count: int, *, acts: bool) -> Sequences:
    rng = np.random.default_rng(1)
    x = rng.random((count, 8, 16)).astype(np.float32)
    cond = rng.normal(size=(count, 7, 1)) if acts else None
    columns = tuple(f"x{i}" for i in range(16))
    lengths = np.full(count, 8)
    return Sequences(x, lengths, columns, "film", cond, actions=("u",) * acts, image_shape=(4, 4))


@pytest.fixture(scope="module")
def world() -> Fitted:
    model = models.RSSM(
        16, 1, deter_dim=4, latent=families.DiagGaussian(2), likelihood="gaussian", decoder=(), key=KEY
    )
    q = posteriors.Filtering(families.DiagGaussian(2), like=model, widths=(4,), encoder=(), key=KEY)
    return unfitted(spread(model), q, gradients.Reparam())


def test_world_model_of_pictures(world: Fitted, tmp_path: Path) -> None:
    """Those held out are shown; columns are pixels, so a film takes the place of the bands."""
    held, train = pictures(2, acts=True), pictures(3, acts=True)
    text = page(world, (held, train), tmp_path)
    assert headings(text) == ["Training", "How far ahead it sees", "How it was made"]
    assert "5 sequences (2 held out) of up to 8 steps, 16 columns" in text
    assert "Held-out sequence 1. Reconstructions" in text and "Measured on sequences held out" in text
    assert text.count("data:image/png") == 3
    assert re.findall(r"<span>(.*?)</span>", text) == ["truth", "reconstruction", "open loop"]


def test_with_actions_the_last_quarter_is_foretold(world: Fitted, tmp_path: Path) -> None:
    films = pictures(2, acts=True)
    columns = Sequences(films.x, np.array([8, 5]), films.columns, "columns", films.cond, actions=("u",))
    found = series.paths(world.inference, columns, key=KEY)
    assert found is not None and found.ahead is not None and found.ahead.known
    np.testing.assert_array_equal(found.ahead.start, [6, 3])
    np.testing.assert_array_equal(np.isfinite(found.ahead.mean[..., 0]), [[True, True], [True, True]])
    text = page(world, columns, tmp_path)
    assert "Over time" in headings(text) and "first 4 of 16 columns" in text
    assert "the past and the present" in text and "from the steps before alone" in text


def test_deep_markov_model_of_bits(tmp_path: Path) -> None:
    """Noise of zeros and ones has no band; a smoothing posterior sees everything."""
    model = models.NeuralStateSpace(2, 2, likelihood="bernoulli", decoder=(), width=4, key=KEY)
    q = posteriors.Smoothing(families.DiagGaussian(2), like=model, widths=(4,), key=KEY)
    x = np.random.default_rng(0).integers(0, 2, (3, 8, 2)).astype(float)
    text = page(
        unfitted(spread(model), q, gradients.Reparam()),
        Sequences(x, np.full(3, 8), ("a", "b"), "bits"),
        tmp_path,
    )
    assert headings(text)[1:3] == ["Over time", "How far ahead it sees"]
    assert "of observations" not in text and "the whole sequence" in text


def test_without_data(switching: Fitted, turning: Fitted, tmp_path: Path) -> None:
    """What parameters alone can tell is told."""
    assert headings(page(switching, None, tmp_path)) == ["Training", "Regimes", "How it was made"]
    assert headings(page(turning, None, tmp_path)) == ["Training", "States and stability", "How it was made"]


def test_codes_have_no_band(tmp_path: Path) -> None:
    model = models.HMM.with_parameters(
        [0.5, 0.5], [[1.0, 0.0], [0.2, 0.8]], probs=[[[0.7, 0.2, 0.1]], [[0.0, 0.1, 0.9]]]
    )
    x = np.random.default_rng(0).integers(0, 3, (1, 9, 1)).astype(float)
    text = page(exactly(model), Sequences(x, np.array([9]), ("code",), "codes"), tmp_path)
    assert headings(text) == ["Training", "Regimes", "How it was made"]
    assert "never left" in text and "0: 0.70, 1: 0.20, 2: 0.10" in text


@pytest.mark.parametrize("kind", ["one step", "nothing observed", "no step", "constant"])
def test_hardly_any_data(kind: str, turning: Fitted, tmp_path: Path) -> None:
    x = np.full((1, 6, 2), 900.0)
    mask, lengths = np.ones(x.shape, bool), np.array([{"one step": 1, "no step": 0}.get(kind, 6)])
    if kind == "nothing observed":
        x, mask = np.full(x.shape, np.nan), ~mask
    if kind == "one step":
        x, mask = x[:, :1], mask[:, :1]
    text = page(turning, Sequences(x, lengths, ("a", "b"), "hardly", mask=mask), tmp_path)
    assert ("Over time" in headings(text)) == (kind != "no step")
    assert "How far ahead it sees" in headings(text) if kind == "constant" else True


def test_many_columns_and_a_growing_model(tmp_path: Path) -> None:
    with pytest.warns(JensenWarning, match="unstable"):
        model = models.LinearGaussianSSM.with_parameters(
            [[1.5]], [[1.0]], np.ones((9, 1)), np.ones(9), initial=([0.0], [[1.0]])
        )
    x = np.random.default_rng(0).normal(size=(1, 6, 9))
    data = Sequences(x, np.array([6]), tuple(f"a very long name of column {i}" for i in range(9)), "wide")
    text = page(exactly(model), data, tmp_path)
    assert "first 4 of 9 columns" in text and "unstable" in text and "runs away" in text


def test_transitions_that_change_are_told_by_their_products(ragged: Sequences, tmp_path: Path) -> None:
    turns = np.stack([(0.5 + 0.4 * (t % 2)) * np.array(TURN) for t in range(T - 1)])
    model = models.LinearGaussianSSM.with_parameters(
        turns, 0.1 * np.eye(2), np.eye(2), np.full((T, 2), 0.3), initial=([1.0, 0.0], np.eye(2)),
        offsets=(np.zeros(2), np.array([900.0, 900.0])),
    )  # fmt: skip
    text = page(exactly(model), ragged, tmp_path)
    assert "changes from step to step" in text and "shocks fade" in text and "unit circle" not in text
    assert "a forecast from the steps before alone" in text  # nobody gave parameters of steps to come
    gains = linear.log_gains(turns)
    np.testing.assert_allclose(
        gains[-1], np.log(np.linalg.norm(np.linalg.multi_dot(turns[::-1]), 2)), rtol=1e-6
    )
    assert np.isfinite(linear.log_gains(np.full((3000, 1, 1), 1e-3))).all()


def test_plans_fit_the_lengths() -> None:
    assert horizon.plan(np.array([1, 0])) is None
    for lengths in (np.array([2]), np.array([2, 3, 5]), np.full(30, 2), np.array([1000]), np.full(12, 400)):
        how = horizon.plan(lengths)
        assert how is not None and how.context >= 1 and 1 <= how.horizon <= 50
        assert how.context + how.horizon <= lengths.max()


def test_gap_of_sequences_speaks_of_steps(gap: dict[str, Any]) -> None:
    static = sections.bound(gap, None)
    assert static is not None and static.blocks[2].head == ["", "nats per datum", ""]
    assert gaps.noun(gap) == "row" and not gaps.per_step(gap)
    each = {"log_evidence": -1.69, "elbo": -1.79, "amortization": 0.065, "approximation": 0.035, "total": 0.1}
    of_sequences = {
        **gap, "per_step": {**each, "causality": 0.02}, "mean_steps": 10.0,
        "causality": {"value": 0.2, "se": 0.01},
    }  # fmt: skip
    found = sections.bound(of_sequences, None)
    assert found is not None
    table = found.blocks[2]
    assert table.head == ["", "nats per sequence", "nats per step", ""]
    rows = {row[0]: row[1:3] for row in table.rows}
    assert rows["ELBO"] == ["-17.90 ± 0.31", "-1.790"]
    assert rows["  of it, seeing the past only"] == ["0.20 ± 0.01", "0.020"]
    assert "standard error over sequences" in found.blocks[3].paragraphs[0]
