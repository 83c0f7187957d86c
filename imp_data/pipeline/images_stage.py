"""The images stage of a source: fingerprints of the images that its draw reaches."""

from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.images.checkpoint import open_checkpoint
from imp_data.images.fingerprint_cache import FingerprintCache, fingerprint_writer
from imp_data.images.reader import ImageReader
from imp_data.parallel.progress import progress
from imp_data.pipeline.sampling_inputs import Draws
from imp_data.pipeline.stages import code_of
from imp_data.screening.image_decisions import ImageFilter
from imp_data.screening.quota_sampling import draw, image_paths
from imp_data.screening.text_filters import Rows
from imp_data.storage.stage_cache import StageResult

_ROWS_AT_ONCE = 1 << 14


def images_stage(draws: Draws, source: str) -> StageResult:
    """One row an image; figures: how many, and by status."""
    out = draws.data.fingerprints(draws.name, source)
    images = draws.images_digest(source)

    def build() -> dict[str, Any]:
        with (
            open_checkpoint(draws.data.journal(source), images) as kept,
            fingerprint_writer(out) as writer,
            progress(f"images/{source}", "images") as told,
        ):
            if draws.deferred:
                return {"images": 0, "statuses": {}, "deferred": True}
            limits, records = draws.recipe.mixture.limits, draws.data.records(source)
            reader = draws.reader(draws.recipe.sources[source].images)
            earlier = draws.earlier_fingerprints(source, images)
            album = FingerprintCache(reader, limits, writer, told, kept, earlier)
            judge = ImageFilter(album, limits, draws.benchmarked(), draws.twins())
            order = draws.candidates(source).order
            draw(order, draws.quota(source), lambda r: judge.passes(image_paths(records, r)))
            statuses = dict(sorted(album.statuses.items()))
            if statuses.keys() == {"missing"}:
                image = _first_image(records, order)
                raise _nothing_found(source, statuses["missing"], reader, image)
            return {"images": sum(statuses.values()), "statuses": statuses}

    inputs = {**draws.draw_inputs(source), "code": code_of("images"), "images": images}
    return draws.stage(f"images/{source}", inputs, [out], build)


def _first_image(records: Path, order: Rows) -> str:
    """The first in draw order, of rows of which some have one."""
    pieces = (order[n : n + _ROWS_AT_ONCE] for n in range(0, len(order), _ROWS_AT_ONCE))
    return next(image for rows in pieces for image in image_paths(records, rows) if image)


def _nothing_found(source: str, count: int, reader: ImageReader, image: str) -> UserError:
    """Of a source without one image that is there: a place is wrong, not each of its records."""
    places = [f"{place}, {name}" for place, name in reader.places(image)]
    looked_at = "".join(f"\n  {place}" for place in [reader.images / image, *places])
    problem = f"none of {count:,} images is there; {image} was looked for at{looked_at}"
    remedy = (
        "put the images there; or correct `image_prefix` and `images` in the source's manifest, "
        "`path` and `inside` in the collection's"
    )
    return UserError(f"images/{source}", problem, remedy)
