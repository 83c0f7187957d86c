"""A mixture as training input: its files are verified."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from training_runs import shapes

from imp_data.errors import UserError
from imp_data.training.data.mixture_input import open_mixture

__all__ = ["shapes"]


def test_a_missing_or_altered_mixture_is_named(shapes: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: holds no mixture\.json"):
        open_mixture(tmp_path / "none")
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(shapes.data.mixture("small"), copy)
    shard = next(copy.glob("*.arrow"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-8])
    with pytest.raises(UserError, match=f"{shard.name}: has .* bytes instead of"):
        open_mixture(copy)
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name}: is missing"):
        open_mixture(copy)
    manifest = copy / "mixture.json"
    manifest.write_text(manifest.read_text().replace('"rows": 22', '"rows": 23', 1))
    with pytest.raises(UserError, match="its digest is not that of its content"):
        open_mixture(copy)
