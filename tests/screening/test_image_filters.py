"""Broken, small and benchmark images are refused with their evidence."""

import re
from typing import Any

import numpy as np
import pytest

from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import fingerprint_table
from imp_data.manifests import Limits
from imp_data.screening.decontamination.benchmark_index import BenchmarkIndex
from imp_data.screening.image_filters import BenchmarkMatcher, image_verdicts, prepare_matcher

TWIN, OTHER = "00000000000000aa", "02e3e418198427e7"
LOOKS = {0xFF00: TWIN, 2**64 - 1: "00000000000000bb"}


def quiz(most: int = 10) -> BenchmarkMatcher:
    pack = BenchmarkIndex(
        name="quiz",
        ids=frozenset(LOOKS.values()),
        id_pattern=re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])"),
        sha256s={"f" * 64: TWIN},
        hashes=np.array(list(LOOKS), np.uint64),
        hash_ids=list(LOOKS.values()),
    )
    return prepare_matcher(pack, most)


def look(image: str, phash: int = 0xFFFF0000, **fields: Any) -> Fingerprint:
    whole = Fingerprint(image, "ok", 9, "0" * 64, "PNG", "RGB", 40, 30, 1, phash, None)
    return whole._replace(**fields)


def verdict_on(fingerprint: Fingerprint, most: int = 10) -> tuple[str, dict[str, Any]] | None:
    verdicts = image_verdicts(fingerprint_table([fingerprint]), Limits(), [quiz(most)])
    return (verdicts[0].reason.value, verdicts[0].evidence) if verdicts else None


@pytest.mark.parametrize("status", ["missing", "empty", "undecodable", "truncated", "too_large"])
def test_a_broken_image_is_refused_by_its_status(status: Any) -> None:
    reason, evidence = verdict_on(Fingerprint("p", status, problem="so it is")) or ("", {})
    assert (reason, evidence) == (f"image_{status}", {"image": "p", "problem": "so it is"})


@pytest.mark.parametrize(("width", "height", "goes"), [(8, 8, False), (7, 99, True), (99, 7, True)])
def test_an_image_below_the_minimum_side_is_refused(width: int, height: int, goes: bool) -> None:
    expected = ("image_too_small", {"image": "p", "size": [width, height]}) if goes else None
    assert verdict_on(look("p", width=width, height=height)) == expected


def test_equal_bytes_of_a_benchmark_image_have_priority_over_its_hash() -> None:
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "sha256": "f" * 64}
    assert verdict_on(look("p", 0xFF00, sha256="f" * 64)) == ("benchmark_bytes", evidence)


@pytest.mark.parametrize("bits", [0, 9, 10, 11])
@pytest.mark.parametrize("upright", [False, True])
def test_an_image_within_the_distance_is_refused_with_its_match_and_distance(
    bits: int, upright: bool
) -> None:
    near = 0xFF00 ^ ((1 << bits) - 1) << 20
    fingerprint = look("p", 0xFFFFFFFF << 16, phash_upright=near) if upright else look("p", near)
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "distance_bits": bits}
    expected = ("benchmark_hash", evidence) if bits <= 10 else None
    assert verdict_on(fingerprint, most=10) == expected


def test_a_flat_image_matches_a_benchmark_by_its_bytes_alone() -> None:
    flat = look("p", 0)._replace(phash=None)
    assert verdict_on(flat, most=64) is None
    evidence = {"benchmark": "quiz", "image": "p", "id": TWIN, "sha256": "f" * 64}
    assert verdict_on(flat._replace(sha256="f" * 64)) == ("benchmark_bytes", evidence)
