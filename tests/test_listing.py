"""What a reader finds in the public folders by ``dir()``: the API and nothing else."""

from __future__ import annotations

import pytest

from jensen import datasets, diagnose, fit, report, use


@pytest.mark.parametrize("folder", [datasets, diagnose, fit, report, use], ids=lambda m: m.__name__)
def test_dir_lists_the_api_alone(folder):
    assert dir(folder) == sorted(folder.__all__)
    assert all(getattr(folder, name) is not None for name in dir(folder))
