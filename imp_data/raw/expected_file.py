"""Check a file against its manifest, its lock entry, and the file kind of its name."""

from pathlib import Path

from imp_data.errors import REFETCH, UserError
from imp_data.manifests import Publication, UpstreamFile
from imp_data.manifests.lockfile import LocatedEntry, LockFiles, is_user_edited
from imp_data.raw.http_response import DownloadError
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind, kind_phrase
from imp_data.storage.range_reader import open_file

# Accepted kinds by suffix. The records stage distinguishes the kinds of JSON.
_ARCHIVES = {"zip", "tar"}
_KINDS = {
    ".zip": _ARCHIVES,
    ".tar": _ARCHIVES,
    ".parquet": {"parquet"},
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".xz"), _ARCHIVES | {"gzip", "bzip2", "xz"}),
    ".zst": {"zstd"},
}
_HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
# Placeholders that replace a file of any name; other suffixes allow no other check.
_PLACEHOLDERS = {"html", "git-lfs pointer"}
_REMEDIES = {
    "git-lfs pointer": "get the file itself (git lfs pull), or download it from its address",
    "html": "open it in a browser: it explains why the file was not served; then download it again",
    "gzip": "a tar.gz or gz: unpack it (gunzip), and give the unpacked file this name",
}


class ExpectedFile:
    """One file with the size and sha256 of its manifest, or else of its lock entry."""

    def __init__(self, published: Publication, file: UpstreamFile, locks: LockFiles | None) -> None:
        self._published, self._stated, self._locks = published, file, locks
        self._found: LocatedEntry | None = None
        if locks and file.sha256 is None:
            self._found = locks.find_entry(published, file.path)
        self.file, self.stated_by = file, "the manifest"
        if self._found:
            size, sha256 = self._found.entry.bytes, self._found.entry.sha256
            # The size in the manifest takes precedence.
            size = size if file.bytes is None else file.bytes
            self.file = file.model_copy(update={"bytes": size, "sha256": sha256})
            self.stated_by = self._found.location

    def remedy(self, default: str) -> str:
        """Return what to do about a file that differs from its lock entry, or else `default`."""
        if self._found is None or self._found.entry.glob is not None:
            return default
        day, url = self._found.entry.fetched, self._found.entry.address
        return (
            f"put the version of {day} there ({url or 'it was put in place by hand'}); to accept "
            f"the new version instead, leave out {self._found.location} and run the same command "
            "again"
        )

    def lock_download(self, path: Path, digest: str, url: str) -> None:
        """Lock a downloaded file. Raise DownloadError if its kind does not match its name."""
        if self._is_unlocked and (mismatch := find_kind_mismatch(path, self._stated.path)):
            raise DownloadError(mismatch[0])
        self._lock(path, digest, url)

    def lock_manual(self, path: Path, digest: str) -> None:
        """Lock a file that was put in place by hand, unless the user may edit it."""
        editable = is_user_edited(self._published, self._stated)
        if not editable and find_kind_mismatch(path, self._stated.path) is None:
            self._lock(path, digest, None)

    @property
    def _is_unlocked(self) -> bool:
        """Whether neither the manifest nor a lock entry states the sha256."""
        locked = self._found is not None and self._found.entry.sha256 is not None
        return self._stated.sha256 is None and not locked

    def _lock(self, path: Path, digest: str, url: str | None) -> None:
        """Raise DownloadError if another run has locked another version meanwhile."""
        if self._locks is None or not self._is_unlocked:
            return
        size = path.stat().st_size
        self._found = self._locks.add_entry(self._published, self._stated.path, size, digest, url)
        if self._found.entry.sha256 != digest:
            locked = self._found.entry.sha256
            raise DownloadError(f"has sha256 {digest}, {self._found.location} says {locked}")


def check_kind(path: Path) -> None:
    """Raise UserError if the first bytes of a file show another kind than its ending promises.

    Endings that say nothing of the kind are left to the stage that reads the file.
    """
    if path.suffix.lower() in _KINDS and (mismatch := find_kind_mismatch(path, path.name)):
        raise UserError(path, *mismatch)


def find_kind_mismatch(path: Path, name: str) -> tuple[str, str] | None:
    """Return a file's kind, if its name implies another, and what to do; None if they match."""
    suffix = Path(name).suffix
    accepted = _KINDS.get(suffix.lower())
    if accepted is None and suffix.lower() in _HTML_SUFFIXES:
        return None
    with open_file(path) as file:
        kind = detect_kind(file.read(HEAD_BYTES))
    if kind is None or (kind not in _PLACEHOLDERS if accepted is None else kind in accepted):
        return None
    return f"is {kind_phrase(kind)}, although its name ends in {suffix}", _REMEDIES.get(
        kind, REFETCH
    )
