"""`imp-data pack BENCHMARK…`: write the ids and hashes of benchmarks, without a mixture."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from imp_data.errors import UserError
from imp_data.storage.paths import expand_user


def pack(
    benchmarks: Annotated[
        list[str],
        typer.Argument(help="Names of benchmarks in the manifests' folder.", metavar="BENCHMARK…"),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write NAME.parquet in.")
    ] = Path("packs"),
    manifests: Annotated[Path, typer.Option(help="Folder of the manifests.", metavar="DIR")] = Path(
        "manifests"
    ),
    ids_only: Annotated[
        bool, typer.Option("--ids-only", help="Fetch no images: the packs have ids alone.")
    ] = False,
) -> None:
    """Write packs of benchmarks: ids and hashes of their images, digests of their questions."""
    from imp_data.manifests import benchmark_recipe
    from imp_data.pipeline.build import Build
    from imp_data.pipeline.required_inputs import check_inputs

    names = list(dict.fromkeys(name.replace("-", "_") for name in benchmarks))
    folder = Path(expand_user(str(manifests)))
    for name in names:
        if not (folder / "benchmarks" / f"{name}.yaml").is_file():
            known = ", ".join(sorted(path.stem for path in (folder / "benchmarks").glob("*.yaml")))
            remedy = f"use one of these: {known or 'none'}; or name a folder with --manifests"
            raise UserError(name, f"is no benchmark of {folder}", remedy)
    build = Build(benchmark_recipe(names, folder, ids_only))
    check_inputs(build)
    build.start_raw(build.published)
    try:
        for name in build.raw_order():
            build.raw(name)
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            figures = build.benchmark(name).figures
            hashed = f"{figures['ids']:,} ids, {figures['fingerprinted']:,} images hashed"
            _copy(build.data.benchmark(name), out / f"{name}.parquet", hashed)
            if asked := figures.get("questions"):
                questions, count = out / f"{name}.questions.parquet", asked["questions"]
                _copy(build.data.question_pack(name), questions, f"{count:,} questions")
    finally:
        build.stop_raw()


def _copy(pack: Path, target: Path, contents: str) -> None:
    from imp_data.storage.atomic_write import write_atomically

    with write_atomically(target) as aside:
        shutil.copyfile(pack, aside)
    print(f"{target}: {contents}, {target.stat().st_size / 1e6:.1f} MB")
