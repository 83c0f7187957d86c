"""Questions on a scene whose answers can be seen in it."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Final

from demo.drawing.ink import COLOURS, WORDS, counted, listed
from demo.drawing.scenes import GROUND_PHRASES, SKY_PHRASES, Scene
from demo.drawing.sprites import KINDS

Exchange = tuple[str, str]

PLACES: Final = {
    "beach": "beach",
    "meadow": "meadow",
    "street": "street",
    "snow": "snowy field",
    "desert": "desert",
    "lake": "lake",
    "deck": "wooden deck",
}
_KNOWLEDGE: Final = {
    "ball": ("What can one do with the round thing here?", "throw it"),
    "car": ("How many wheels does such a vehicle usually have?", "4"),
    "house": ("What is the building here made to do?", "live in"),
    "tree": ("What gas do the plants in this photo take in?", "carbon dioxide"),
    "boat": ("What moves this kind of vessel?", "wind"),
    "kite": ("What must blow for this toy to fly?", "wind"),
    "cup": ("What does one usually put into the thing with a handle?", "coffee"),
    "dog": ("What is the young of this animal called?", "puppy"),
    "balloon": ("What is heated to make this thing rise?", "air"),
    "umbrella": ("What weather is this thing made for?", "rain"),
    "tent": ("What do people do at night in this thing?", "sleep"),
    "duck": ("What does this animal have on its skin?", "feathers"),
}
WRITTEN: Final = (
    "What word is on the sign?",
    "What does the sign say?",
    "What is written on the sign?",
    "Which word can be read here?",
)
_LIGHT: Final = {
    "clear": "The sun is high and the sky is clear, so it is daytime.",
    "cloudy": "It is daytime: the sky is blue, with some white clouds.",
    "overcast": "It is daytime, though grey clouds cover the whole sky.",
    "sunset": "The sun is setting, so it must be evening.",
    "night": "It is night, for the sky is dark.",
}


def names(scene: Scene) -> list[str]:
    """A phrase for each thing that fits no other: 'red ball', 'second blue cup from the left'."""
    looks = [f"{thing.colour} {thing.kind}" for thing in scene.things]
    ordinals = ("first", "second", "third", "fourth", "fifth", "sixth")
    return [
        look
        if looks.count(look) == 1
        else f"{ordinals[looks[:place].count(look)]} {look} from the left"
        for place, look in enumerate(looks)
    ]


def short_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Questions with answers of a word or two, shuffled."""
    kinds = Counter(thing.kind for thing in scene.things)
    where = rng.choice(("picture", "photo", "image"))
    found = [
        (rng.choice(("What color is the sign?", "The sign is what color?")), scene.sign_colour),
        (rng.choice(WRITTEN), scene.word.lower()),
        (rng.choice(("What kind of place is this?", "Where are we?")), PLACES[scene.ground]),
        ("Is it night or day?", "night" if scene.sky == "night" else "day"),
        (f"How many signs are in the {where}?", "1"),
    ]
    for kind, count in kinds.items():
        found += _on_kind(scene, rng, kind, count, where)
    absent = rng.choice([kind for kind in KINDS if kind not in kinds])
    found.append((f"Is there {counted(1, absent)} in the {where}?", "no"))
    if len(kinds) == 2:
        (first, more), (second, fewer) = kinds.items()
        answer = "yes" if more > fewer else "no"
        found.append((f"Are there more {first}s than {second}s?", answer))
    rng.shuffle(found)
    return found


def _on_kind(scene: Scene, rng: random.Random, kind: str, count: int, where: str) -> list[Exchange]:
    ask = rng.choice((f"How many {kind}s are in the {where}?", f"How many {kind}s are there?"))
    limit = rng.randint(1, 3)
    found = [(ask, str(count)), (f"Is there {counted(1, kind)} in the {where}?", "yes")]
    found.append(
        (f"Are there more than {limit} {kind}s?", "yes" if count > limit else "no")
        if limit > 1
        else (f"Is there more than one {kind}?", "yes" if count > 1 else "no")
    )
    colours = {thing.colour for thing in scene.things if thing.kind == kind}
    if len(colours) == 1:
        (colour,) = colours
        asked = f"What color is the {kind}?" if count == 1 else f"What color are the {kind}s?"
        found.append((asked, colour))
    return found


def side_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Which of two things stands to the left, in GQA's manner."""
    labels = names(scene)
    middles = [thing.box[0] + thing.box[2] for thing in scene.things]
    found: list[Exchange] = []
    for place in range(1, len(labels)):
        if middles[place] - middles[place - 1] > 24:
            one, other = rng.sample((place - 1, place), 2)
            side = "left" if one < other else "right"
            asked = f"Is the {labels[one]} to the left or to the right of the {labels[other]}?"
            found.append((asked, side))
    return found


def knowledge_exchanges(scene: Scene) -> list[Exchange]:
    """Questions that need to know the thing as well as to see it."""
    return [_KNOWLEDGE[kind] for kind in dict.fromkeys(thing.kind for thing in scene.things)]


def long_exchanges(scene: Scene, rng: random.Random) -> list[Exchange]:
    """Questions with answers of a sentence, shuffled."""
    things = counted(len(scene.things), "thing").replace("a thing", "one thing")
    sign = f"The {scene.sign_colour} sign"
    labels = names(scene)
    found = [
        (rng.choice(WRITTEN), f'{sign} says "{scene.word}" in capital letters.'),
        (
            rng.choice(("Where was this photo taken?", "Where does the scene take place?")),
            f"The photo was taken {GROUND_PHRASES[scene.ground]}.",
        ),
        ("What time of day does it seem to be?", _LIGHT[scene.sky]),
        (
            "How many things are there apart from the sign?",
            f"Apart from the sign there {'is' if len(labels) == 1 else 'are'} {things}.",
        ),
        ("What stands farthest to the left?", f"Farthest to the left is the {labels[0]}."),
    ]
    found += _on_colours(scene)
    rng.shuffle(found)
    return found


def _on_colours(scene: Scene) -> list[Exchange]:
    found = []
    for kind in dict.fromkeys(thing.kind for thing in scene.things):
        colours = [thing.colour for thing in scene.things if thing.kind == kind]
        shown = listed(list(dict.fromkeys(colours)))
        if len(colours) > 1:
            asked = f"What colors are the {kind}s in the image?"
            found.append((asked, f"The {kind}s are {shown}."))
        else:
            found.append((f"What color is the {kind} in the image?", f"The {kind} is {shown}."))
    return found


def reasoned_exchange(scene: Scene, rng: random.Random) -> Exchange:
    """A question to think about, answered from what is in the image."""
    return rng.choice((_what_remains, _where_to_meet, _whether_to_flash, _who_cares))(scene)


def _setting(scene: Scene) -> str:
    return f"{GROUND_PHRASES[scene.ground]} {SKY_PHRASES[scene.sky]}"


def _what_remains(scene: Scene) -> Exchange:
    kind = scene.things[0].kind
    left = [f"the {name}" for name in names(scene) if kind not in name.split()]
    rest = listed([*left, f"the {scene.sign_colour} sign"])
    return (
        f"If every {kind} were taken away, what would still stand in this place?",
        f"Without any {kind} there would still be {rest}. The surroundings would not change "
        f"either: one would be {_setting(scene)}.",
    )


def _where_to_meet(scene: Scene) -> Exchange:
    return (
        "How could a visitor tell a friend over the phone where to meet?",
        f"The visitor could say that the place is {_setting(scene)}, and that the friend should "
        f'look for {counted(1, scene.sign_colour)} sign with the word "{scene.word}". '
        f"As a further landmark there is the {names(scene)[0]}.",
    )


def _whether_to_flash(scene: Scene) -> Exchange:
    dark = scene.sky == "night"
    needed = "A flash would help to show" if dark else "There is enough light to show"
    return (
        "Would a photographer need a flash to take this picture again, and why?",
        f"{_LIGHT[scene.sky]} {needed} the colors of nearby things.",
    )


def _who_cares(scene: Scene) -> Exchange:
    return (
        "What shows that somebody takes care of this place?",
        f"Somebody has put up {counted(1, scene.sign_colour)} sign that reads "
        f'"{scene.word}". A sign does not get {GROUND_PHRASES[scene.ground]} by itself, so people '
        "must come here.",
    )


def optioned(scene: Scene, rng: random.Random) -> tuple[str, list[str]]:
    """A question with four options, of which the first is right."""
    number = len(scene.things)
    near = [str(n) for n in range(1, 9)]
    asked: list[tuple[str, str, Iterable[str]]] = [
        ("What word does the sign carry?", scene.word.lower(), WORDS),
        ("What color is the sign?", scene.sign_colour, COLOURS),
        ("What kind of place is shown?", PLACES[scene.ground], PLACES.values()),
        ("How many things stand around apart from the sign?", str(number), near),
    ]
    question, right, options = rng.choice(asked)
    return question, [right, *rng.sample([option for option in options if option != right], 3)]
