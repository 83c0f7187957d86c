"""The command `imp-data fetch-images`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imp_data.errors import UserError
from imp_data.terminal import print_json

if TYPE_CHECKING:
    from imp_data.raw.image_urls.settings import FetchSettings
    from imp_data.raw.image_urls.status import UrlStatus


# Above 40 lines: each option is a parameter.
# Above 40 lines: it has a line for each option.
def fetch_images(
    urls: Annotated[
        Path,
        typer.Argument(
            metavar="LIST",
            help="Parquet, CSV, JSON Lines or text file of URLs; or the manifest of an image "
            "collection, whose images go to the data directory.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the images and their status.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column of the URLs.")] = "url",
    name: Annotated[
        str, typer.Option(help="Name of an image: {row} is its row from 0, {ext} its ending.")
    ] = "{row}.{ext}",
    name_column: Annotated[str | None, typer.Option(help="Column of the names.")] = None,
    sha256_column: Annotated[str | None, typer.Option(help="Column of sha256 digests.")] = None,
    connections: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 64,
    per_host: Annotated[int, typer.Option(min=1, help="Connections to one host.")] = 4,
    rate: Annotated[
        float, typer.Option(min=0, help="Requests per second to one host; 0: no limit.")
    ] = 4.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest time of one attempt.")] = 60.0,
    max_bytes: Annotated[int, typer.Option(min=1, help="Bytes of one image.")] = 64 << 20,
    private_host: Annotated[
        list[str] | None,
        typer.Option(help="Host that may be this machine or in its network; repeat it for more."),
    ] = None,
    ignore_robots_tag: Annotated[
        bool, typer.Option(help="Take images despite X-Robots-Tag: noai, or the like.")
    ] = False,
    allow_failures: Annotated[
        bool, typer.Option(help="Exit with status 0 even if some URLs may work later.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Download images by URL; exit status 1 if another run may get more of them."""
    from imp_data.raw.image_urls.settings import FetchSettings

    if urls.suffix in (".yaml", ".yml"):
        folder, statuses = _fetch_collection(urls)
    elif out is None:
        raise UserError("--out", "is missing", "name the folder of the images: -o FOLDER")
    else:
        settings = FetchSettings(
            connections=connections,
            connections_per_host=per_host,
            requests_per_second_per_host=rate,
            total_seconds=seconds,
            max_image_bytes=max_bytes,
            obey_robots_tag=not ignore_robots_tag,
            private_hosts=frozenset(private_host or ()),
        )
        template = None if name_column else name
        folder = out
        statuses = _fetch_list(urls, (column, name_column, sha256_column), template, out, settings)
    if not _report(folder, statuses, as_json) and not allow_failures:
        raise typer.Exit(1)


def _fetch_collection(manifest: Path) -> "tuple[Path, list[UrlStatus]]":
    from imp_data.manifests import ImageCollection, load_manifest
    from imp_data.raw.image_urls.collection import fetch_collection
    from imp_data.storage.data_dir import data_dir

    collection = load_manifest(manifest, ImageCollection)
    folder = data_dir(drawn=False).raw(collection.name)
    return folder, fetch_collection(collection, folder)


def _fetch_list(
    path: Path,
    columns: tuple[str, str | None, str | None],
    template: str | None,
    out: Path,
    settings: "FetchSettings",
) -> "list[UrlStatus]":
    from imp_data.raw.image_urls.fetch import Target, fetch_images
    from imp_data.raw.image_urls.status import STATUS_FILE
    from imp_data.raw.image_urls.url_list import UrlColumns, read_url_list

    rows = read_url_list(path, UrlColumns(*columns))
    return fetch_images(path, rows, template, Target(out, out / STATUS_FILE, "images"), settings)


def _report(folder: Path, statuses: "list[UrlStatus]", as_json: bool) -> bool:
    """Print the number of rows by result; return whether no other run can get more images."""
    from imp_data.raw.image_urls.status import STATUS_FILE, FailureReason, count_statuses

    counts = count_statuses(statuses)
    open_rows = sum(1 for one in statuses if one.status != "ok" and not one.permanent)
    if as_json:
        print_json({"status_file": str(folder / STATUS_FILE), "rows": counts, "open": open_rows})
        return not open_rows
    meanings = {"ok": "The image is there.", "pending": "Not requested yet."}
    meanings |= {reason.value: reason.sentence for reason in FailureReason}
    for result, count in counts.items():
        print(f"{count:>9,}  {result:<16} {meanings[result]}")
    print(f"{folder / STATUS_FILE}: {len(statuses):,} rows")
    if open_rows:
        print(f"another run may get {open_rows:,} more: run the same command again later")
    return not open_rows
