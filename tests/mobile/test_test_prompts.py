"""The test prompts for the comparison of exports."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[mobile]'")
pytest.importorskip("xllamacpp", reason="pip install 'imp-data[mobile]'")


from imp_data.errors import UserError
from imp_data.mobile.measure.test_prompts import cases_from_images, default_cases


def test_given_images_replace_the_built_in_ones(tmp_path: Path) -> None:
    wide = default_cases()[0].image
    assert wide is not None
    wide.save(tmp_path / "mine.png")
    (case,) = cases_from_images([tmp_path / "mine.png"], "What is it?")
    assert (case.name, case.image and case.image.size) == ("mine.png", (480, 160))
    (tmp_path / "no.png").write_text("no image")
    with pytest.raises(UserError, match=r"no\.png: is not an image"):
        cases_from_images([tmp_path / "no.png"], "What is it?")
