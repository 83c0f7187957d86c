"""Check the environment variables before a build begins."""

from imp_data.errors import UserError
from imp_data.manifests import Mixture
from imp_data.parallel import engine_name, worker_count
from imp_data.raw.fetch import mirrors_from_environment
from imp_data.raw.host_slots import downloads_per_host
from imp_data.storage.data_dir import data_dir


def check_environment(mixture: Mixture) -> None:
    """Raise UserError for the first variable with an unusable value."""
    worker_count()
    engine_name()
    mirrors_from_environment()
    downloads_per_host()
    root = data_dir(mixture.drawn).root
    obstacle = next((path for path in (root, *root.parents) if path.exists()), root)
    if not obstacle.is_dir():
        problem = f"is {root}, but {obstacle} is a file"
        raise UserError(
            "IMP_DATA_DIR", problem, "set it to a folder, or to one that can be created"
        )
