"""Images are numbered by path and bytes, and clustered by their hashes."""

import numpy as np

from imp_data.images.fingerprint_cache import hash_image_paths
from imp_data.mixture.duplicates.image_clusters import cluster_images, number_images, read_hashes
from imp_data.mixture.duplicates.qa_pairs import Rows


def test_images_of_equal_paths_or_equal_bytes_have_one_number() -> None:
    image = np.array([5, 5, 6, 7, 0, 8], np.uint64)
    sha256 = np.array([1, 0, 1, 2, 0, 0], np.uint64)
    numbers = np.arange(6, dtype=np.int32)
    found = number_images(Rows(image, sha256, np.zeros_like(numbers), numbers, (("s", ""),)))
    assert found[0] == found[1] == found[2]
    assert len({found[0], found[3], found[5]}) == 3
    assert found[4] == -1


def test_images_without_a_fingerprint_belong_to_no_cluster() -> None:
    names = hash_image_paths(["a", None])
    numbers = np.arange(2, dtype=np.int32)
    rows = Rows(names, np.zeros(2, np.uint64), np.zeros_like(numbers), numbers, (("s", ""),))
    image = number_images(rows)
    assert cluster_images(image, read_hashes(rows, image, []), 4).tolist() == [-1, -1]
