"""A merged folder on a machine without imp-data: its card's example, in a new process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="pip install 'imp-data[train]'")

import torch
from conftest import World
from training_world import COLOURS, LORA, STAGE, shape

from imp_data.manifests.model import LORA_TARGETS
from imp_data.training.data.chat_templates import TEMPLATES
from imp_data.training.evaluation.generate import AnswerGenerator
from imp_data.training.model.architecture import build_network
from imp_data.training.model.lora import make_trainable, trainable_parameters
from imp_data.training.model.merge import merge
from imp_data.training.model.stage_output import write_stage_output
from tests.training.test_architecture import ARCHITECTURES, TEMPLATE_OF, randomize, tiny, tokenizer

torch.set_num_threads(1)
# Simulates a machine without imp-data and network.
ALONE = "import sys; sys.modules['imp_data'] = None\n"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HOME": ".", "OMP_NUM_THREADS": "1"}


def merged(architecture: str, world: World, out: Path) -> Path:
    """Write a merged model whose adapter and projector differ from their initial weights."""
    m = tiny(world, architecture)
    targets = sorted(LORA_TARGETS[architecture])  # type: ignore[index]
    stage = {**STAGE, "lora": {**LORA, "targets": targets}}
    m = m.model_validate({**m.model_dump(), "stages": {"adapter": stage}})
    (_, adapter), words = m.planned[0], tokenizer(m.template)
    network = randomize(make_trainable(build_network(m, words, m.seed), adapter))
    weights = {name: weight.detach() for name, weight in trainable_parameters(network)}
    facts = {"mixture": {"name": "small", "rows": 1, "digest": "d"}, "steps": 1, "loss": 1.0}
    jinja = TEMPLATES[m.template].jinja
    write_stage_output(out / "outcome", m, "adapter", words, jinja, weights, facts)
    merge(out / "outcome", out / "merged")
    return out / "merged"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_cards_example_runs_with_transformers_alone(
    architecture: str, world: World, tmp_path: Path
) -> None:
    folder = merged(architecture, world, tmp_path)
    shape(COLOURS["red"], 1).save(folder / "image.png")
    card = (folder / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", ALONE + example],
        cwd=folder,
        env={**os.environ, **OFFLINE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    image = shape(COLOURS["red"], 1)
    answer = AnswerGenerator(folder).answer(image, "What is in the image?", max_new_tokens=64)
    assert answer
    assert done.stdout.rstrip("\n") == answer
    needs_code = 'ImageTextToText.from_pretrained(".", trust_remote_code=True)' in example
    assert needs_code == (architecture == "phi")
    assert 'AutoProcessor.from_pretrained(".", backend="pil", trust_remote_code=True)' in example
    assert TEMPLATE_OF[architecture] in card
