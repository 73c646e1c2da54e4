"""What is refused at the edge, and in which words."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from jensen.datasets import check_features, check_finite, check_support, check_table
from jensen.errors import InputError, JensenWarning

NAN, INF = np.nan, np.inf

TABLES = {
    "nan": ([[1.0, 2.0], [NAN, 3.0]], {}, "x: column 0 has 1 non-finite value (1 NaN), the first in row 1; remove those rows, fill them, or mask"),
    "inf": ([[1.0, INF], [2.0, -INF]], {"columns": ("a", "b"), "what": "train"}, "train: column 'b' has 2 non-finite values (2 infinite), the first in row 0;"),
    "both": ([[NAN], [1.0], [INF]], {}, "column 0 has 2 non-finite values (1 NaN, 1 infinite), the first in row 0;"),
    "two columns": ([[NAN, NAN], [1.0, 2.0]], {}, "the first in row 0; 1 more column too;"),
    "three columns": ([[NAN, NAN, INF]], {}, "; 2 more columns too;"),
    "text": (np.array([["1", "b"]]), {"columns": ("u", "v")}, "x: column 'u' holds 1 (str_) in row 0, not a number; remove the column or encode it"),
    "object text": (np.array([[1, 2.0], [3, "red"]], dtype=object), {}, "column 1 holds red (str) in row 1, not a number"),
    "object none": (np.array([[1, None]], dtype=object), {}, "column 1 holds None (NoneType) in row 0"),
    "object numbers": (np.array([[1, 2]], dtype=object), {}, "entries have dtype object, not numbers; convert with np.asarray(x, dtype=float)"),
    "dates": (np.array([["2020-01-01"]], dtype="datetime64[D]"), {}, "entries have dtype datetime64[D], not numbers"),
    "complex": ([[1j]], {}, "x: complex numbers (complex128); give the real and imaginary parts as columns"),
    "ragged": ([[1.0], [1.0, 2.0]], {}, "x: rows have different lengths; every row needs the same columns"),
    "one dimension": ([1.0, 2.0], {}, "expected 2 dimensions (rows, columns), found shape (2,); one column is x[:, None]"),
    "three dimensions": (np.zeros((2, 3, 4)), {}, "found shape (2, 3, 4); flatten each row with x.reshape(len(x), -1)"),
    "scalar": (1.0, {}, "found shape (); give a table"),
    "no rows": (np.zeros((0, 3)), {}, "x: empty, shape (0, 3); at least one row and one column are needed"),
    "no columns": (np.zeros((3, 0)), {}, "x: empty, shape (3, 0)"),
    "mask shape": (np.zeros((2, 2)), {"mask": np.ones((2, 1), bool)}, "the mask has shape (2, 1), the data (2, 2); they must be equal"),
    "mask dtype": (np.zeros((2, 2)), {"mask": np.ones((2, 2))}, "the mask has dtype float64; it must be bool, True where observed"),
    "unobserved column": (np.zeros((2, 2)), {"mask": np.array([[True, False]] * 2)}, "column 1 has no observed value; remove the column"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_check_table_refuses(case: str):
    x, options, text = TABLES[case]
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        check_table(x, **options)
    assert "\n" not in str(caught.value)


def test_masked_entries_may_hold_anything():
    x = np.array([[1.0, NAN], [INF, 2.0], [3.0, 4.0]])
    mask = np.isfinite(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_table(x, mask=mask)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_])
def test_numbers_pass(dtype: type):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_table(np.array([[0, 1], [1, 0]], dtype=dtype))


CONSTANTS = {
    "one": ([[1.0, 2.0], [1.0, 3.0]], None, ("a", "b"), "x: column 'a' is constant; remove what never varies, its density is degenerate"),
    "two": ([[1.0, 2.0], [1.0, 2.0]], None, None, "x: columns 0, 1 are constant"),
    "many": (np.zeros((2, 8)), None, None, "x: columns 0, 1, 2, 3, 4 and 3 more are constant"),
    "observed part": ([[1.0, 2.0], [9.0, 3.0]], np.array([[True, True], [False, True]]), None, "x: column 0 is constant"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONSTANTS)
def test_constant_columns_warn(case: str):
    x, mask, columns, text = CONSTANTS[case]
    with pytest.warns(JensenWarning, match=re.escape(text)):
        check_table(np.asarray(x), mask=mask, columns=columns)


def test_no_warning_for_one_row_or_for_pictures():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_table(np.zeros((1, 2)))
        check_finite(np.zeros((5, 2)))


SUPPORTS = {
    "bytes": ([[0, 255]], "bernoulli", "x holds integers in 0..255 (largest 255), but likelihood 'bernoulli' needs 0 or 1; divide by 255 and binarize it (--binarize threshold or --binarize sample; datasets.binarize), or choose likelihood 'gaussian'"),
    "few levels": ([[0, 16]], "bernoulli", "(largest 16), but likelihood 'bernoulli' needs 0 or 1; divide by 16 and binarize"),
    "unit": ([[0.0, 0.3]], "bernoulli", "x holds values between 0 and 1, but likelihood 'bernoulli' needs exactly 0 or 1, so the choice must be explicit: binarize it (--binarize threshold or --binarize sample; datasets.binarize), or use likelihood 'gaussian'"),
    "negative": ([[0.0, 1.0], [1.0, -0.5]], "bernoulli", "x holds -0.5 in row 1, column 1, but likelihood 'bernoulli' needs 0 or 1; use likelihood 'gaussian'"),
    "large": ([[0.0, 1.5]], "bernoulli", "x holds 1.5 in row 0, column 1, but likelihood 'bernoulli' needs 0 or 1; use"),
    "counts": ([[0, 300]], "bernoulli", "x holds 300 in row 0, column 1, but likelihood 'bernoulli' needs 0 or 1; use"),
    "bernoulli nan": ([[0.0, NAN]], "bernoulli", "x holds nan in row 0, column 1"),
    "fraction": ([[0.0, 1.5]], "categorical", "x holds 1.5 in row 0, column 1, but likelihood 'categorical' needs integer codes 0..K-1; use likelihood 'gaussian' for measurements"),
    "negative code": ([[0, -1]], "categorical", "x holds -1 in row 0, column 1, but likelihood 'categorical' needs integer codes 0..K-1; number the classes from 0"),
    "not finite": ([[INF]], "gaussian", "x holds inf in row 0, column 0, but likelihood 'gaussian' needs finite numbers"),
    "unknown": ([[0.0]], "bernouli", "unknown likelihood 'bernouli' (did you mean 'bernoulli'?)"),
}  # fmt: skip


@pytest.mark.parametrize("case", SUPPORTS)
def test_check_support_refuses(case: str):
    x, likelihood, text = SUPPORTS[case]
    with pytest.raises(InputError, match=re.escape(text)):
        check_support(np.array(x), likelihood)


@pytest.mark.parametrize(
    ("x", "likelihood"),
    [
        ([[0.0, 1.0]], "bernoulli"),
        ([[True]], "bernoulli"),
        ([[0, 3.0]], "categorical"),
        ([[-1e9]], "gaussian"),
    ],
)
def test_check_support_accepts(x: list, likelihood: str):
    check_support(np.array(x), likelihood)


def test_check_support_ignores_masked_entries():
    check_support(np.array([[0.0, 255.0]]), "bernoulli", mask=np.array([[True, False]]))
    check_support(np.array([[NAN]]), "bernoulli", mask=np.array([[False]]))


def test_check_features_uses_scikit_learns_wording():
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(1).fit(np.random.default_rng(0).normal(size=(9, 4)))
    with pytest.raises(ValueError, match="features") as theirs:
        fitted.predict(np.zeros((2, 3)))
    with pytest.raises(InputError) as ours:
        check_features(np.zeros((2, 3)), 4, model="GaussianMixture")
    assert str(ours.value) == str(theirs.value)
    with pytest.raises(InputError, match=re.escape("expecting 2 features as input. They are: a, b.")):
        check_features(np.zeros((2, 3)), 2, ("a", "b"), model="GaussianMixture")
    check_features(np.zeros((2, 3)), 3)
