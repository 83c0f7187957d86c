"""The command `imp-data release`."""

from pathlib import Path
from typing import Annotated

import typer

from imp_data.redaction import redact
from imp_data.storage.paths import expand_user
from imp_data.terminal import print_json

_Names = list[str] | None


def release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a mixture.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the release in.")],
    include: Annotated[
        _Names,
        typer.Option(metavar="NAME", help="Include the images of this collection or source."),
    ] = None,
    exclude: Annotated[
        _Names,
        typer.Option(metavar="NAME", help="Leave out the images of this collection or source."),
    ] = None,
    manifests: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the manifests.")] = Path(
        "manifests"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Write a mixture as Parquet with its images, ready for the Hub.

    Images whose licence does not allow to pass them on are left out, unless --include names their
    collection.
    """
    from imp_data.release.run import ReleaseOptions, write_release
    from imp_data.release.sharing import SharingChoice

    choice = SharingChoice.of(include or (), exclude or ())
    where = Path(expand_user(str(manifests)))
    found = write_release(folder, out, ReleaseOptions(where, choice))
    if as_json:
        print_json(found)
        return
    size = sum(file["bytes"] for file in found["files"].values())
    print(f"{out}: {found['mixture']['rows']:,} samples, {size / 1e6:,.1f} MB")
    for one in found["images"]:
        state = "included" if one["included"] else "left out"
        name = one["origin"] or "(no manifest)"
        print(redact(f"  {one['images']:>10,} images of {name} ({one['license']}): {state}"))
