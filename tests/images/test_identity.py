"""The same photograph is recognized under the names that different datasets give it."""

import pytest

from imp_data.images.identity import find_identities, identity_of
from imp_data.manifests import ImageIdKind

COCO = "coco:000000000037"


@pytest.mark.parametrize(
    "path",
    [
        "coco/train2017/000000000037.jpg",
        "coco/val2014/COCO_val2014_000000000037.jpg",
        "COCO_train2014_000000000037.jpg",
        "allava_vflan/images/VQAv2_81_COCO_train2014_000000000037.jpg",
        "A-OKVQA+rationales_generation_12_000000000037.png",
        "existence/000000000037.jpg",
    ],
)
def test_a_coco_image_has_one_identity_under_all_its_names(path: str) -> None:
    assert [*find_identities(path, ["coco"])] == [COCO]


@pytest.mark.parametrize(
    "path",
    [
        "photos/37.jpg",
        "sam/images/sa_000037.jpg",
        "web/0000000000037.jpg",
        "dates/202401000037.jpg",
        "000000000037/cover.jpg",
    ],
)
def test_other_numbers_are_no_coco_ids(path: str) -> None:
    assert [*find_identities(path, ["coco"])] == []


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("vg/VG_100K/2317533.jpg", "visual_genome:2317533"),
        ("vg/VG_100K_2/0061.jpg", "visual_genome:61"),
        ("gqa/images/2317533.jpg", "visual_genome:2317533"),
        ("allava_vflan/images/GQA_17_2317533.jpg", "visual_genome:2317533"),
        ("allava_vflan/images/visualgenome_vqa_17_2317533.jpg", "visual_genome:2317533"),
    ],
)
def test_gqa_and_vision_flan_show_images_of_visual_genome(path: str, identity: str) -> None:
    assert [*find_identities(path, ["visual_genome"])] == [identity]


@pytest.mark.parametrize("path", ["ocr_vqa/images/2317533.jpg", "gqa/images/n161313.jpg"])
def test_a_number_in_another_folder_is_no_image_of_visual_genome(path: str) -> None:
    assert [*find_identities(path, ["visual_genome"])] == []


@pytest.mark.parametrize(
    ("stated", "kind", "identity"),
    [
        ("37", "coco", COCO),
        ("COCO_val2014_000000000037", "coco", COCO),
        ("existence/000000000037.jpg", "coco", COCO),
        ("landmark/0006adf999ccc899.jpg", "coco", None),
        ("0037", "visual_genome", "visual_genome:37"),
        ("n161313", "gqa_test", "gqa_test:n161313"),
        ("gqa/images/n161313.jpg", "gqa_test", "gqa_test:n161313"),
        ("0004c9478eeda995", "openimages", "openimages:0004c9478eeda995"),
        ("0004C9478EEDA995", "openimages", None),
        ("VizWiz_test_00000000.jpg", "vizwiz", "vizwiz:VizWiz_test_00000000"),
        ("v1_12.png", "coco", None),
    ],
)
def test_a_benchmark_states_ids_alone_or_in_file_names(
    stated: str, kind: ImageIdKind, identity: str | None
) -> None:
    assert identity_of(stated, kind) == identity
