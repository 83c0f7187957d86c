"""The saved image processor, loaded by transformers alone: it makes the pixels of training."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

from conftest import World
from PIL import Image
from rgb_images import COLOURS, FILES
from transformers import AutoProcessor

from imp_data.images.decoding import decode_rgb
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.data.images import preprocess
from imp_data.training.model.architecture import build_network
from imp_data.training.model.model_folder import save_model
from tests.training.test_architecture import ARCHITECTURES, TEMPLATE_OF, tiny, tokenizer

# Simulates a machine without imp-data and network. Opening a PNG with megabytes of text needs
# permission: the processor gives it for images by path, which come first here.
ALONE = """
import sys
sys.modules["imp_data"] = None
from pathlib import Path
import numpy as np
from PIL import Image
from transformers import AutoProcessor
folder = Path(sys.argv[1])
processor = AutoProcessor.from_pretrained(folder, backend="pil", trust_remote_code=True)
def pixels(image):
    return processor(images=image, text="<image>", return_tensors="np")["pixel_values"][0]
for file in sorted(folder.parent.glob("files/*")):
    np.save(folder.parent / "named" / file.name, pixels(str(file)))
    np.save(folder.parent / "opened" / file.name, pixels(Image.open(file)))
"""
OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def saved(world: World, folder: Path, architecture: str, how: str) -> None:
    m = tiny(world, architecture, image_preprocessing=how)
    words = tokenizer(m.template)
    jinja = TEMPLATES[TEMPLATE_OF[architecture]].jinja
    save_model(build_network(m, words), words, m, jinja, {}, folder)


def pixels_alone(folder: Path, files: dict[str, bytes]) -> dict[str, list[Any]]:
    """Return {name: pixels of the opened file, and of its path}, computed in a separate process."""
    for name in ("files", "opened", "named"):
        (folder.parent / name).mkdir()
    for name, data in files.items():
        (folder.parent / "files" / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder)],
        cwd=folder.parent,
        env={**os.environ, **OFFLINE, "HF_HOME": str(folder.parent / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = [folder.parent / "opened", folder.parent / "named"]
    return {name: [np.load(kind / f"{name}.npy") for kind in kinds] for name in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "how"), [*((one, "square") for one in ARCHITECTURES), ("qwen2", "pad")]
)
def test_transformers_alone_makes_the_pixels_of_training(
    architecture: str, how: Any, world: World, tmp_path: Path
) -> None:
    saved(world, tmp_path / "m", architecture, how)
    files = {name: FILES[name]()[0] for name in FILES}
    for name, found in pixels_alone(tmp_path / "m", files).items():
        expected = preprocess(decode_rgb(files[name]), 28, how)
        assert all((one == expected).all() for one in found), name


def test_ordinary_images_have_the_pixels_of_training_without_remote_code(
    world: World, tmp_path: Path
) -> None:
    saved(world, tmp_path / "m", "qwen2", "square")
    processor = AutoProcessor.from_pretrained(tmp_path / "m", backend="pil")
    assert type(processor.image_processor).__module__.startswith("transformers.")
    for name in ("RGB", "RGBA", "LA", "a clear colour of a palette", "EXIF 6"):
        data, _ = FILES[name]()
        (tmp_path / "f").write_bytes(data)
        with Image.open(tmp_path / "f") as image:
            found = processor(images=image, text="<image>", return_tensors="np")["pixel_values"][0]
        assert (found == preprocess(decode_rgb(data), 28, "square")).all(), name


def test_transformers_converts_arrays(world: World, tmp_path: Path) -> None:
    saved(world, tmp_path / "m", "qwen2", "square")
    processor = AutoProcessor.from_pretrained(tmp_path / "m", backend="pil", trust_remote_code=True)
    found = processor(images=COLOURS, text="<image>", return_tensors="np")["pixel_values"][0]
    assert (found == preprocess(Image.fromarray(COLOURS), 28, "square")).all()
