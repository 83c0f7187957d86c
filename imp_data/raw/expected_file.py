"""What a file must be: as its manifest states, else as the lock says, and of its name's kind."""

from pathlib import Path

from imp_data.errors import ANEW, UserError
from imp_data.manifests import File, Published
from imp_data.manifests.lockfile import Found, Locks, is_own
from imp_data.raw.http_response import Refused
from imp_data.storage.file_kinds import HEAD_BYTES, described, file_kind
from imp_data.storage.range_reader import open_file

# By a file's ending, the kinds that are read as what it names. JSON's are told apart by the records
# stage, which reads more of them.
_ARCHIVES = {"zip", "tar"}
_KINDS = {
    ".zip": _ARCHIVES,
    ".tar": _ARCHIVES,
    ".parquet": {"parquet"},
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".xz"), _ARCHIVES | {"gzip", "bzip2", "xz"}),
}
_PAGES = {".html", ".htm", ".xhtml"}
# What stands in a file's place, whatever its name: of other endings nothing else can be said.
_INSTEAD = {"html", "git-lfs pointer"}
_STEPS = {
    "git-lfs pointer": "get the file itself (git lfs pull), or download it from its address",
    "html": "open it in a browser: it says why the file was not served; then download it again",
    "gzip": "a tar.gz or gz: unpack it (gunzip), and give the unpacked file this name",
}


class Expected:
    """One file with what its manifest says of it, or else what was learned when it first came."""

    def __init__(self, published: Published, file: File, locks: Locks | None) -> None:
        self._published, self._stated, self._locks = published, file, locks
        self._found: Found | None = None
        if locks and file.sha256 is None:
            self._found = locks.found(published, file.path)
        self.file, self.stated_by = file, "the manifest"
        if self._found:
            size, sha256 = self._found.locked.bytes, self._found.locked.sha256
            # What the manifest itself says of the size comes first.
            size = size if file.bytes is None else file.bytes
            self.file = file.model_copy(update={"bytes": size, "sha256": sha256})
            self.stated_by = self._found.where

    def remedy(self, otherwise: str) -> str:
        """What to do about a file that is not what is stated."""
        if self._found is None:
            return otherwise
        day, url = self._found.locked.fetched, self._found.locked.address
        return (
            f"put the version of {day} there ({url or 'it was put in place by hand'}); to accept "
            f"the new version instead, take {self._found.where} out, and run the same command again"
        )

    def arrived(self, path: Path, digest: str, url: str) -> None:
        """Lock what has come. Raises Refused where it is of another kind than its name promises."""
        if self._is_open and (other := other_kind(path, self._stated.path)):
            raise Refused(other[0])
        self._lock(path, digest, url)

    def learn(self, path: Path, digest: str) -> None:
        """Lock a file that was put in place by hand, unless it is a person's own to edit."""
        own = is_own(self._published, self._stated)
        if not own and other_kind(path, self._stated.path) is None:
            self._lock(path, digest, None)

    @property
    def _is_open(self) -> bool:
        """Whether nobody has said what the file must be."""
        return self._stated.sha256 is None and self._found is None

    def _lock(self, path: Path, digest: str, url: str | None) -> None:
        """Raise Refused where another run has locked another version meanwhile."""
        if self._locks is None or not self._is_open:
            return
        size = path.stat().st_size
        self._found = self._locks.learn(self._published, self._stated.path, size, digest, url)
        if self._found.locked.sha256 != digest:
            said = self._found.locked.sha256
            raise Refused(f"has sha256 {digest}, {self._found.where} says {said}")


def check_kind(path: Path) -> None:
    """Raise UserError if the first bytes of a file show another kind than its ending promises.

    Endings that say nothing of the kind are left to the stage that reads the file.
    """
    if path.suffix.lower() in _KINDS and (other := other_kind(path, path.name)):
        raise UserError(path, *other)


def other_kind(path: Path, name: str) -> tuple[str, str] | None:
    """What a file is although its name promises otherwise, and what to do; None if it is right."""
    suffix = Path(name).suffix
    read_as = _KINDS.get(suffix.lower())
    if read_as is None and suffix.lower() in _PAGES:
        return None
    with open_file(path) as file:
        kind = file_kind(file.read(HEAD_BYTES))
    if kind is None or (kind not in _INSTEAD if read_as is None else kind in read_as):
        return None
    return f"is {described(kind)}, although its name ends in {suffix}", _STEPS.get(kind, ANEW)
