"""The build of an audit: its files are where they are found, and it removes nothing but faults."""

from collections.abc import Sequence
from pathlib import Path

from imp_data.audit.mixed_reader import MixedReader
from imp_data.audit.place import Place
from imp_data.images.reader import ImageReader
from imp_data.manifests import Recipe
from imp_data.pipeline.build import Build
from imp_data.raw.image_urls.failed_urls import UrlFailures, read_url_failures
from imp_data.raw.image_urls.status import STATUS_FILE
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.image_filters import BenchmarkMatcher, prepare_matcher
from imp_data.screening.text_filters import BenchmarkQuestions
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import text_digest
from imp_data.storage.paths import has_latency
from imp_data.storage.stage_cache import StageResult, write_stamp

_MAX_DISTANCE_BITS = 10


class AuditBuild(Build):
    """A build that compares images with benchmarks that were fingerprinted elsewhere."""

    reports_only = True

    def __init__(
        self,
        recipe: Recipe,
        data: DataDir,
        place: Place,
        images: Path | None,
        benchmarks: Sequence[BenchmarkIndex],
        questions: BenchmarkQuestions | None,
    ) -> None:
        super().__init__(recipe, data)
        self._place, self._image_folder = place, images
        self._questions = questions
        self._benchmarks = [prepare_matcher(one, _MAX_DISTANCE_BITS) for one in benchmarks]
        if not has_latency(place.folder):
            _link(data.raw(""), {source: place.folder for source in recipe.sources})
            data.images.symlink_to((images or place.folder).absolute())

    def raw(self, name: str) -> StageResult:
        """Verify the files of a source; those of the Hub by what the Hub states about them."""
        if not has_latency(self._place.folder):
            return super().raw(name)
        versions = self._place.versions
        files = {path: versions[path] for path in self.recipe.sources[name].records}
        figures = {"files": files, "unpacked": {}}
        digest = text_digest(*(part for pair in files.items() for part in pair))
        write_stamp(self.stamp(f"raw/{name}"), {}, digest, figures)
        return StageResult(digest, figures, built=True)

    def reader(self, collections: tuple[str, ...]) -> ImageReader:
        """Return the reader of images in the dataset, and of those in a folder of this machine."""
        reader, named = super().reader(collections), self._image_folder
        if named is None or not has_latency(self._place.folder):
            return reader
        return MixedReader(named.absolute(), reader.raw, ())

    def benchmark_matchers(self) -> list[BenchmarkMatcher]:
        """Return the matchers of the benchmarks that the command names."""
        return self._benchmarks

    def benchmark_questions(self) -> BenchmarkQuestions | None:
        """Return the questions of the benchmarks that the command names."""
        return self._questions

    def url_failures(self, source: str) -> UrlFailures:
        """Return the failures that `imp-data fetch-images` has noted beside the images."""
        folder = self._image_folder or self._place.folder
        return read_url_failures(folder / STATUS_FILE)


def _link(raw: Path, folders: dict[str, Path]) -> None:
    raw.mkdir(parents=True)
    for name, folder in folders.items():
        (raw / name).symlink_to(folder.absolute())
