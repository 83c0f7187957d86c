"""The stored and the upright hash of each image, read from rows of a fingerprint file."""

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.images.image_hashes import hash_entries, read_hashes

ROWS = [
    Fingerprint("plain", "ok", phash=2**64 - 1),
    Fingerprint("turned", "ok", phash=1, phash_upright=2),
    Fingerprint("flat", "ok"),
    Fingerprint("symmetric", "ok", phash=3, phash_upright=3),
]


def test_an_image_that_exif_does_not_turn_is_upright_as_stored() -> None:
    both, hashed = read_hashes(fingerprint_table(ROWS))
    assert both[[0, 1, 3]].tolist() == [[2**64 - 1] * 2, [1, 2], [3, 3]]
    assert hashed.tolist() == [True, True, False, True]


def test_each_distinct_hash_is_listed_once_with_the_row_of_its_image() -> None:
    for rows in (fingerprint_table(ROWS), fingerprint_table(ROWS).to_batches()[0]):
        hashes, owners = hash_entries(read_hashes(rows))
        assert hashes.tolist() == [2**64 - 1, 1, 2, 3]
        assert owners.tolist() == [0, 1, 1, 3]


def test_no_images_have_no_hashes() -> None:
    hashes, owners = hash_entries(read_hashes(fingerprint_table([])))
    assert (hashes.tolist(), owners.tolist()) == ([], [])
