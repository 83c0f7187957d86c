"""The environment's settings, looked at before a build begins: a wrong one is one error."""

from imp_data.errors import UserError
from imp_data.manifests import Mixture
from imp_data.parallel import engine_name, worker_count
from imp_data.raw.fetch import mirrors_from_environment
from imp_data.storage.data_dir import data_dir


def check_settings(mixture: Mixture) -> None:
    """UserError naming the first variable that no stage could work with."""
    worker_count()
    engine_name()
    mirrors_from_environment()
    root = data_dir(mixture.drawn).root
    obstacle = next((path for path in (root, *root.parents) if path.exists()), root)
    if not obstacle.is_dir():
        problem = f"is {root}, but {obstacle} is a file"
        raise UserError("IMP_DATA_DIR", problem, "name a folder, or one that can be made")
