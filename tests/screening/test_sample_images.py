"""Samples with any number of images pass if all their images do."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imp_data.screening.sample_images import hash_images

# Samples with the images a to e; of which images are refused.
SAMPLES = st.lists(st.lists(st.sampled_from("abcde"), max_size=4), max_size=12)
REFUSED = st.sets(st.sampled_from("abcde"))


def passing(samples: list[list[str]], refused: set[str]) -> Any:
    return np.array([image not in refused for own in samples for image in own], np.bool_)


@given(SAMPLES, REFUSED)
def test_a_refused_image_drops_exactly_the_samples_that_have_it(
    samples: list[list[str]], refused: set[str]
) -> None:
    found = hash_images(samples).all_pass(passing(samples, refused))
    assert found.tolist() == [not refused.intersection(own) for own in samples]


@given(SAMPLES, REFUSED, st.data())
def test_the_first_refused_image_of_a_sample_decides(
    samples: list[list[str]], refused: set[str], data: st.DataObject
) -> None:
    gone = [n for n, own in enumerate(samples) if refused.intersection(own)]
    rows = data.draw(st.permutations(gone))
    images = hash_images(samples).take(np.array(rows, np.int32))
    places = images.first_failing(passing([samples[n] for n in rows], refused))
    found = (places - images.bounds[:-1]).tolist()
    assert found == [next(k for k, i in enumerate(samples[n]) if i in refused) for n in rows]


@given(SAMPLES, st.data())
def test_some_samples_or_a_range_of_them_keep_their_images(
    samples: list[list[str]], data: st.DataObject
) -> None:
    images = hash_images(samples)
    rows = data.draw(st.lists(st.sampled_from(range(len(samples))))) if samples else []
    some, expected = images.take(np.array(rows, np.int32)), hash_images([samples[n] for n in rows])
    assert some.keys.tolist() == expected.keys.tolist()
    assert some.bounds.tolist() == expected.bounds.tolist()
    here = slice(*sorted(data.draw(st.tuples(*[st.integers(0, len(samples))] * 2))))
    assert images.between(here).bounds.tolist() == hash_images(samples[here]).bounds.tolist()
    assert images.between(here).keys.tolist() == hash_images(samples[here]).keys.tolist()


def test_a_near_duplicate_of_an_image_of_its_own_sample_is_excused() -> None:
    images = hash_images([["film/1", "film/2"], ["film/2", "other"], ["film/2"]])
    first = images.keys[0]
    duplicate_of = np.array([0, first, first, 0, first], np.uint64)
    excused = images.excuse_own(duplicate_of == 0, duplicate_of)
    assert excused.tolist() == [True, True, False, True, False]
    assert images.all_pass(excused).tolist() == [True, False, False]
