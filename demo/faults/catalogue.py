"""All planted records with their expected outcomes."""

from typing import Final

from demo.faults.annotated_sources import LAION, SHAREGPT4V, VFLAN
from demo.faults.llava_images import IMAGES
from demo.faults.llava_records import RECORDS
from demo.faults.pages import PAGES
from demo.faults.planted import Case, Planted, positions
from demo.faults.question_sources import QUESTIONS
from demo.sources import allava, captions, llava

LLAVA_665K: Final = (*RECORDS, *IMAGES)


def _planted(
    source: str, cases: tuple[Case, ...], clean: int, first: int = 0
) -> tuple[Planted, ...]:
    """`first` is the upstream ordinal of the first record in the file."""
    ordinals = positions(clean, len(cases))
    return tuple(
        case.planted(source, first + ordinal) for case, ordinal in zip(cases, ordinals, strict=True)
    )


PLANTED: Final[tuple[Planted, ...]] = (
    *_planted("llava_665k", LLAVA_665K, sum(llava.CLEAN.values())),
    *_planted("sharegpt4v", SHAREGPT4V, sum(captions.SHAREGPT4V.values())),
    *_planted("allava_instruct", LAION, allava.LAION),
    *_planted("allava_instruct", VFLAN, sum(allava.TASKS.values()), allava.LAION + len(LAION)),
    *QUESTIONS,
    *PAGES,
)
