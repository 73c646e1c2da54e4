"""Shape checking for the whole package, one CPU device, and the optional data folder."""

from __future__ import annotations

import os
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook("jensen", "beartype.beartype")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The optional folder of real data sets (environment variable JENSEN_DATA)."""
    folder = Path(os.environ.get("JENSEN_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip("needs the optional data folder; set JENSEN_DATA")
    return folder
