"""Audit records: build a mixture of all of them in a temporary folder, and sum up its ledger."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from imp_data.audit.benchmarks import find_benchmarks, find_questions
from imp_data.audit.build import AuditBuild
from imp_data.audit.decompression import decompress_into
from imp_data.audit.discovery import FoundRecords, audit_source, find_records
from imp_data.audit.figures import audit_figures
from imp_data.audit.hub_place import hub_place
from imp_data.audit.place import Place, local_place, parse_hub_name
from imp_data.audit.selection import Selection
from imp_data.audit.tokens import TokenOptions, load_tokenizer, token_figures
from imp_data.errors import UserError
from imp_data.manifests import Mixture, Recipe
from imp_data.pipeline.duplicates_stage import write_duplicates_report
from imp_data.storage.atomic_write import json_text, link_or_copy, write_text
from imp_data.storage.data_dir import DataDir
from imp_data.storage.paths import expand_user

VERSION = 1
_NAME = "audit"
_EVERYTHING = 2**31 - 1


class AuditOptions(NamedTuple):
    """Options of an audit.

    `images` is the folder of images that records name by path; `columns`, `ignored_fields` and
    `form` describe records that are not recognised; `selection` and `limit` choose files, and the
    first records in them; `revision` is that of a dataset of the Hub; `benchmarks` are paths of
    packs or fingerprints to compare with, `questions` of question packs; `tokens` says how to count
    tokens; `out` is a folder for ledger and report.
    """

    images: Path | None = None
    columns: Mapping[str, str] = {}
    ignored_fields: tuple[str, ...] = ()
    form: str | None = None
    selection: Selection = Selection()
    revision: str | None = None
    limit: int | None = None
    benchmarks: Sequence[Path] = ()
    questions: Sequence[Path] = ()
    tokens: TokenOptions | None = None
    out: Path | None = None


class Examined(NamedTuple):
    """A dataset whose records and images were examined: the build, its files, its scratch folder.

    `not_read` maps files to the reason.
    """

    build: AuditBuild
    place: Place
    found: Sequence[FoundRecords]
    not_read: Mapping[str, str]
    scratch: Path

    @property
    def ledger(self) -> Path:
        """The ledger, one row for each record."""
        return self.build.data.mixture(_NAME) / "ledger.parquet"


def audit(where: str, options: AuditOptions) -> dict[str, Any]:
    """Audit the records at a path, or of a dataset of the Hub; return the figures.

    Raise UserError if there are no records, or none whose form is known.
    """
    tokenizer = load_tokenizer(options.tokens) if options.tokens else None
    with examined(where, options) as done:
        build, place = done.build, done.place
        write_duplicates_report(build)
        figures = {
            "version": VERSION,
            "path": place.title,
            "revision": place.revision,
            "license": place.card.license,
            "limit": options.limit,
            "records": [_form_figures(some, build) for some in done.found],
            "not_read": done.not_read,
            **audit_figures(build),
            "tokens": None,
        }
        if options.tokens:
            records = {source: build.data.records(source) for source in build.recipe.sources}
            figures["tokens"] = token_figures(records, options.tokens, tokenizer, done.scratch)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            link_or_copy(done.ledger, options.out / "ledger.parquet")
            write_text(options.out / "audit.json", json_text(figures))
        return figures


@contextmanager
def examined(where: str, options: AuditOptions) -> Iterator[Examined]:
    """Examine the records at a path, or of a dataset of the Hub, in a scratch folder.

    Raise UserError if there are no records, or none whose form is known.
    """
    name = parse_hub_name(where)
    if name is None and options.revision is not None:
        remedy = "leave out --revision, or name a dataset of the Hub: hf://datasets/OWNER/NAME"
        raise UserError(where, "is a path of this machine, which has no revisions", remedy)
    if options.images is not None and not options.images.is_dir():
        remedy = "name the folder that has the images"
        raise UserError("--images", f"{options.images} is no folder", remedy)
    benchmarks = find_benchmarks(options.benchmarks)
    questions = find_questions(options.questions, options.benchmarks)
    with TemporaryDirectory(prefix="imp-audit-") as folder:
        scratch = Path(folder)
        images: Path | None
        if name is None:
            place = local_place(Path(expand_user(where)), options.selection)
            images = options.images or place.folder
            place = decompress_into(scratch / "read", place)
        else:
            revision, in_part = options.revision or "main", options.limit is not None
            place = hub_place(name, revision, options.selection, scratch, in_part)
            images = options.images
        found, not_read = find_records(place.folder, place.names, options.columns, options.form)
        data = DataDir(scratch / "data", _NAME, place.upstream)
        build = AuditBuild(_recipe(found, options), data, place, images, benchmarks, questions)
        _run(build, options.limit)
        yield Examined(build, place, found, {**not_read, **place.others}, scratch)


def _run(build: AuditBuild, limit: int | None) -> None:
    """Run the stages; of all sources together read at most `limit` records."""
    left = limit
    for source in build.recipe.sources:
        build.raw(source)
        build.max_rows = left
        build.records(source)
        if left is not None:
            left -= build.figures(f"records/{source}")["rows"]
        build.images(source)
        build.screened(source)
    build.mixture()


def _form_figures(some: FoundRecords, build: AuditBuild) -> dict[str, Any]:
    rows = build.figures(f"records/{some.form}")["rows"]
    return {
        "form": some.form,
        "files": len(some.files),
        "first_file": some.files[0],
        "rows": rows,
    }


def _recipe(found: Sequence[FoundRecords], options: AuditOptions) -> Recipe:
    sources = {
        some.form: audit_source(
            some.form, some.form, some.files, options.columns, options.ignored_fields
        )
        for some in found
    }
    mixture = Mixture.model_validate(
        {
            "name": _NAME,
            "title": "Audit",
            "seed": 0,
            # They are no faults; a build keeps them if its mixture says so.
            "keep_turns": ("system", "tool"),
            "parts": tuple(
                {"source": name, "quota": _EVERYTHING, "group": "All"} for name in sources
            ),
        }
    )
    return Recipe(mixture=mixture, sources=sources, images={}, benchmarks={})
