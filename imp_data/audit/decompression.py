"""Decompress the compressed files of an audit into a scratch folder; write nothing beside them."""

from pathlib import Path

from imp_data.audit.place import Place
from imp_data.errors import UserError
from imp_data.manifests import Limits
from imp_data.raw.decompress import decompress
from imp_data.storage.decompressed import decompressed_path, is_compressed


def decompress_into(home: Path, place: Place) -> Place:
    """Return the place with `home` for its folder, which has copies of the compressed files.

    It is the place itself if no file is compressed. Its `others` map damaged files to the damage.
    Raise UserError if all files are damaged.
    """
    folder, names = place.folder, place.names
    if not any(map(is_compressed, names)):
        return place
    home.mkdir(parents=True)
    # img2dataset's table of a tar has the tar's name.
    beside = {name.removesuffix(".tar") + ".parquet" for name in names if name.endswith(".tar")}
    for top in sorted({name.partition("/")[0] for name in (*names, *beside)}):
        if (folder / top).exists():
            (home / top).symlink_to((folder / top).absolute())
    damaged: dict[str, str] = {}
    last: UserError | None = None
    for name in filter(is_compressed, names):
        try:
            decompress(folder / name, decompressed_path(home, name), Limits())
        except UserError as error:
            damaged[name], last = error.problem, error
    whole = [name for name in names if name not in damaged]
    if last is not None and not whole:
        raise last
    return place._replace(folder=home, names=whole, others={**place.others, **damaged})
