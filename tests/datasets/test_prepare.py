"""Kinds, splits and binarization."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jensen.datasets import binarize, kind, split
from jensen.errors import InputError

KINDS = [
    ([[0, 1]], "binary"), ([[0.0, 1.0]], "binary"), ([[True]], "binary"), ([[0.0, 0.5]], "unit"), ([[0, 2]], "bytes"),
    ([[0.0, 255.0]], "bytes"), ([[0, 256]], "count"), ([[-1, 1]], "real"), ([[0.5, 2.0]], "real"), ([[np.nan]], "real"),
    ([[0.0, np.inf]], "real"), (np.zeros((0, 1)), "real"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "expected"), KINDS)
def test_kind(x: list, expected: str):
    assert kind(np.array(x)) == expected


def test_kind_looks_at_observed_entries_only():
    assert kind(np.array([[0.0, 7.5]]), mask=np.array([[True, False]])) == "binary"


@settings(max_examples=50, deadline=None)
@given(n=st.integers(2, 400), share=st.floats(0.001, 0.999), seed=st.integers(0, 9))
def test_split_partitions(n: int, share: float, seed: int):
    train, held = split(n, share, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(n))
    assert len(train) >= 1 and len(held) >= 1
    assert abs(len(held) - n * share) <= 1
    again = split(n, share, seed=seed)
    assert np.array_equal(train, again[0]) and np.array_equal(held, again[1])


def test_split_depends_on_the_seed_and_may_hold_out_nothing():
    assert not np.array_equal(split(100, 0.3, seed=0)[1], split(100, 0.3, seed=1)[1])
    train, held = split(5, 0.0, seed=0)
    assert np.array_equal(train, np.arange(5)) and len(held) == 0
    assert len(split(1, 0.0, seed=0)[0]) == 1


@pytest.mark.parametrize(
    ("n", "share", "text"),
    [
        (10, 1.0, "the share held out is 1.0; it must be at least 0 and below 1"),
        (10, -0.1, "the share held out is -0.1; it must be"),
        (1, 0.1, "1 row cannot be split; give more rows, or hold out nothing (share 0)"),
    ],
)
def test_split_refuses(n: int, share: float, text: str):
    with pytest.raises(InputError, match=re.escape(text)):
        split(n, share, seed=0)


def test_threshold_is_the_middle_of_the_range():
    unit, raw = np.array([[0.0, 0.49, 0.51, 1.0]]), np.array([[0, 127, 128, 255]], np.uint8)
    for x in (unit, raw):
        out = binarize(x, "threshold", seed=0)
        assert out.dtype == np.float32 and out.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_sample_is_one_fixed_draw_with_the_right_mean(scale: float):
    p = np.tile(np.array([0.0, 0.2, 0.6, 1.0]), (20_000, 1))
    x = np.rint(p * scale) if scale > 1 else p
    out = binarize(x, "sample", seed=3)
    assert set(np.unique(out)) == {0.0, 1.0}
    np.testing.assert_allclose(out.mean(axis=0), p[0], atol=4.5 * 0.5 / np.sqrt(20_000))
    assert out[:, 0].max() == 0 and out[:, 3].min() == 1
    assert np.array_equal(out, binarize(x, "sample", seed=3))
    assert not np.array_equal(out, binarize(x, "sample", seed=4))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([[-1.0, 2.0]], "cannot binarize values from -1 to 2; give [0, 1] or 0..255"),
        ([[0, 1000]], "cannot binarize values from 0 to 1000"),
        (
            [[0, 16]],
            "cannot binarize integers up to 16 as intensities in 0..255; divide by the largest possible value",
        ),
    ],
)
def test_binarize_refuses(x: list, text: str):
    with pytest.raises(InputError, match=re.escape(text)):
        binarize(np.array(x), "sample", seed=0)


@pytest.mark.parametrize("how", ["threshold", "sample"])
def test_binarize_leaves_unobserved_entries_alone(how: str):
    x = np.random.default_rng(0).random((6, 3))
    mask = np.arange(18).reshape(6, 3) % 4 > 0
    bits = binarize(np.where(mask, x, np.nan), how, seed=3, mask=mask)
    np.testing.assert_array_equal(bits, np.where(mask, binarize(x, how, seed=3), np.nan))
