"""The images stage of a source: fingerprints and decisions of the images that sampling reaches."""

from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.images.checkpoint import open_checkpoint
from imp_data.images.fingerprint_cache import FingerprintCache
from imp_data.images.reader import ImageReader
from imp_data.parallel.progress import progress
from imp_data.pipeline.sampling_inputs import SamplingInputs
from imp_data.pipeline.stages import stage_code_version
from imp_data.raw.image_urls.failed_urls import failures_digest
from imp_data.screening.image_decisions import ImageFilter, decision_writer
from imp_data.screening.quota_sampling import image_paths
from imp_data.screening.quota_shares import sample_source
from imp_data.screening.text_filters import Rows
from imp_data.storage.stage_cache import StageResult

_CHUNK_ROWS = 1 << 14


def images_stage(inputs: SamplingInputs, source: str) -> StageResult:
    """Write one row for each image; return how many there are, and how many of each status."""
    out = inputs.data.fingerprints(inputs.name, source)
    images = inputs.images_digest(source)
    failures = inputs.url_failures(source)

    def build() -> dict[str, Any]:
        with (
            open_checkpoint(inputs.data.journal(source), images) as checkpoint,
            decision_writer(out) as write,
            progress(f"images/{source}", "images") as bar,
        ):
            if inputs.deferred:
                return {"images": 0, "statuses": {}, "deferred": True}
            limits, records = inputs.recipe.mixture.limits, inputs.data.records(source)
            reader = inputs.reader(inputs.recipe.sources[source].images)
            earlier = inputs.earlier_fingerprints(source, images)
            cache = FingerprintCache(reader, limits, bar, checkpoint, earlier)
            rules = (limits, inputs.benchmark_matchers(), inputs.near_duplicate_index())
            exclusions = inputs.exclusion_rules(source, on_images=True)
            image_filter = ImageFilter(cache, write, *rules, exclusions, failures)
            order = inputs.candidates(source).order
            sample_source(
                records,
                order,
                inputs.quota(source),
                lambda rows: image_filter.passes(image_paths(records, rows)),
            )
            statuses = dict(sorted(cache.statuses.items()))
            if statuses.keys() == {"missing"} and not inputs.reports_only:
                image = _first_image(records, order)
                raise _no_image_found(source, statuses["missing"], reader, image)
            return {"images": sum(statuses.values()), "statuses": statuses}

    digests = {
        **inputs.sampling_digests(source),
        "code": stage_code_version("images"),
        "images": images,
        # Only where a URL failed, so that the digests of all other sources stay the same.
        **({"url_failures": failures_digest(failures)} if failures else {}),
    }
    return inputs.stage(f"images/{source}", digests, [out], build)


def _first_image(records: Path, order: Rows) -> str:
    """Return the first image in sampling order; at least one row has an image."""
    pieces = (order[n : n + _CHUNK_ROWS] for n in range(0, len(order), _CHUNK_ROWS))
    return next(image for rows in pieces for some in image_paths(records, rows) for image in some)


def _no_image_found(source: str, count: int, reader: ImageReader, image: str) -> UserError:
    """Return the error for a source without a single image: its location is wrong.

    Without this error, every record of the source would be dropped for its missing image.
    """
    places = [f"{place}, {name}" for place, name in reader.places(image)]
    searched = "".join(f"\n  {place}" for place in [reader.images / image, *places])
    problem = f"none of {count:,} images exists; {image} was searched for at{searched}"
    remedy = (
        "put the images there; or correct `image_prefix` and `images` in the source's manifest, "
        "`path` and `inside` in the collection's"
    )
    return UserError(f"images/{source}", problem, remedy)
