"""Questions on a scene whose answers are visible in it."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Final

from demo.drawing.ink import COLOURS, WORDS, counted, listed
from demo.drawing.scenes import GROUNDS, Scene
from demo.drawing.sprites import KINDS

Exchange = tuple[str, str]

_KNOWLEDGE: Final = {
    "ball": ("What can one do with the round thing here?", "throw it"),
    "car": ("How many wheels does such a vehicle usually have?", "4"),
    "house": ("What is the building here made to do?", "live in"),
    "tree": ("What gas do the plants in this photo take in?", "carbon dioxide"),
    "cup": ("What does one usually put into the thing with a handle?", "coffee"),
    "duck": ("What does this animal have on its skin?", "feathers"),
}
WRITTEN: Final = (
    "What word is on the sign?",
    "What does the sign say?",
    "What is written on the sign?",
    "Which word can be read here?",
)
_LIGHT: Final = {
    "clear": "The sky is clear, so it is daytime.",
    "overcast": "It is daytime, though grey clouds cover the whole sky.",
    "sunset": "The sun is setting, so it must be evening.",
    "night": "It is night, because the sky is dark.",
}
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")


def names(scene: Scene) -> list[str]:
    """Return a unique phrase for each thing: 'red ball', 'second blue cup from the left'."""
    looks = [thing.look for thing in scene.things]
    return [
        look
        if looks.count(look) == 1
        else f"{_ORDINALS[looks[:position].count(look)]} {look} from the left"
        for position, look in enumerate(looks)
    ]


def short_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Return questions with answers of a word or two, shuffled."""
    kinds = Counter(thing.kind for thing in scene.things)
    where = rng.choice(("picture", "photo", "image"))
    absent = rng.choice([kind for kind in KINDS if kind not in kinds])
    exchanges = [
        (rng.choice(("What color is the sign?", "The sign is what color?")), scene.sign_colour),
        (rng.choice(WRITTEN), scene.word.lower()),
        (rng.choice(("What kind of place is this?", "Where are we?")), scene.ground),
        ("Is it night or day?", "night" if scene.sky == "night" else "day"),
        (f"How many signs are in the {where}?", "1"),
        (f"Is there {counted(1, absent)} in the {where}?", "no"),
    ]
    for kind, count in kinds.items():
        exchanges += [
            (f"How many {kind}s are in the {where}?", str(count)),
            (f"Is there {counted(1, kind)} in the {where}?", "yes"),
            (f"Is there more than one {kind}?", "yes" if count > 1 else "no"),
        ]
        colours = {thing.colour for thing in scene.things if thing.kind == kind}
        if len(colours) == 1:
            subject = f"is the {kind}" if count == 1 else f"are the {kind}s"
            exchanges.append((f"What color {subject}?", colours.pop()))
    if len(kinds) == 2:
        (first, more), (second, fewer) = kinds.items()
        answer = "yes" if more > fewer else "no"
        exchanges.append((f"Are there more {first}s than {second}s?", answer))
    rng.shuffle(exchanges)
    return exchanges


def side_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Return questions on which of two neighbouring things is to the left, as in GQA."""
    labels = names(scene)
    exchanges: list[Exchange] = []
    for position in range(1, len(labels)):
        one, other = rng.sample((position - 1, position), 2)
        question = f"Is the {labels[one]} to the left or to the right of the {labels[other]}?"
        exchanges.append((question, "left" if one < other else "right"))
    return exchanges


def knowledge_exchanges(scene: Scene) -> list[Exchange]:
    """Return questions that require knowledge of the things as well as their image."""
    return [_KNOWLEDGE[kind] for kind in dict.fromkeys(thing.kind for thing in scene.things)]


def long_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Return questions with answers of a sentence, shuffled."""
    sign = f"The {scene.sign_colour} sign"
    exchanges = [
        (rng.choice(WRITTEN), f'{sign} says "{scene.word}" in capital letters.'),
        (
            rng.choice(("Where was this photo taken?", "Where does the scene take place?")),
            f"The photo was taken {GROUNDS[scene.ground].phrase}.",
        ),
        ("What time of day does it seem to be?", _LIGHT[scene.sky]),
        ("What stands farthest to the left?", f"Farthest to the left is the {names(scene)[0]}."),
    ]
    for kind in dict.fromkeys(thing.kind for thing in scene.things):
        colours = [thing.colour for thing in scene.things if thing.kind == kind]
        subject, verb = (f"{kind}s", "are") if len(colours) > 1 else (kind, "is")
        answer = f"The {subject} {verb} {listed(list(dict.fromkeys(colours)))}."
        exchanges.append((f"What color {verb} the {subject} in the image?", answer))
    rng.shuffle(exchanges)
    return exchanges


def reasoned_exchange(scene: Scene, rng: random.Random) -> Exchange:
    """Return a question that needs reasoning, answered from the content of the image."""
    if rng.random() < 0.5:
        return (
            "How could a visitor tell a friend over the phone where to meet?",
            f"The visitor could say that the place is {scene.setting}, and that the friend should "
            f'look for {scene.sign} with the word "{scene.word}". '
            f"As a further landmark there is the {names(scene)[0]}.",
        )
    kind = scene.things[0].kind
    others = [f"the {name}" for name in names(scene) if kind not in name.split()]
    return (
        f"If every {kind} were taken away, what would still be in this place?",
        f"Without any {kind} there would still be "
        f"{listed([*others, f'the {scene.sign_colour} sign'])}. The surroundings would not change "
        f"either: one would be {scene.setting}.",
    )


def optioned(scene: Scene, rng: random.Random) -> tuple[str, list[str]]:
    """Return a question with four options, of which the first is right."""
    number = str(len(scene.things))
    questions: list[tuple[str, str, Iterable[str]]] = [
        ("What word does the sign carry?", scene.word.lower(), WORDS),
        ("What color is the sign?", scene.sign_colour, COLOURS),
        ("What kind of place is shown?", scene.ground, GROUNDS),
        ("How many things are there apart from the sign?", number, "12345678"),
    ]
    question, right, options = rng.choice(questions)
    return question, [right, *rng.sample([option for option in options if option != right], 3)]
