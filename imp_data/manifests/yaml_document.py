"""A manifest's YAML as values that know their place, within limits that no alias gets around."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from imp_data.errors import UserError
from imp_data.manifests.yaml_scalars import Scalar, scalar, shown
from imp_data.manifests.yaml_text import Spot

MOST_DEPTH = 32
MOST_VALUES = 100_000
MOST_CHARACTERS = 4 << 20
MOST_KEY_CHARACTERS = 256
# In quotes any character can be written; these are never meant.
_NEVER_MEANT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MERGE = "<<"


class Node(NamedTuple):
    """A value: where it stands, what it is; `plain` is a scalar as written without quotes.

    `values`, `characters` and `height` (levels) are of all that is in it, what aliases stand for
    included, each time.
    """

    spot: Spot
    content: "Scalar | list[Node] | dict[str, Field]"
    plain: str | None = None
    values: int = 1
    characters: int = 0
    height: int = 1

    def bare(self) -> Any:
        """The value alone."""
        if isinstance(self.content, dict):
            return {name: field.value.bare() for name, field in self.content.items()}
        if isinstance(self.content, list):
            return [node.bare() for node in self.content]
        return self.content

    def at(self, location: tuple[str | int, ...]) -> tuple[Spot, "Node | None"]:
        """Where a field or an element begins, and its value.

        Of one that is not written: the place of the innermost one around it, and no value.
        """
        spot, node = self.spot, self
        for step in location:
            if isinstance(node.content, dict) and isinstance(step, str) and step in node.content:
                spot, node = node.content[step]
            elif isinstance(node.content, list) and step in range(len(node.content)):
                node = node.content[int(step)]
                spot = node.spot
            else:
                return spot, None
        return spot, node


class Field(NamedTuple):
    """A key's place, and its value."""

    spot: Spot
    value: Node


def document(path: Path, text: str) -> Node:
    """The mapping that the one document of this text is, read as YAML 1.2's core schema says.

    Merge keys (`<<`) are an addition to it. Raises UserError with line and column where the text is
    no YAML, says more than a manifest may, or says something twice.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = _Composer(path, loader).document()
    except yaml.MarkedYAMLError as error:
        spot = _spot(error.problem_mark or error.context_mark or loader.get_mark())
        told = " ".join(filter(None, (error.context, error.problem)))
        raise UserError(path, f"{spot}: is not YAML: {told}", _remedy(told)) from None
    except (ValueError, OverflowError) as error:  # of an escape for which there is no character
        spot = _spot(loader.get_mark())
        problem = f"{spot}: is not YAML: {error}"
        raise UserError(path, problem, "correct the escape (\\…) before it") from None
    finally:
        loader.dispose()
    if not isinstance(node.content, dict):
        problem = f"{node.spot}: holds no fields"
        raise UserError(path, problem, "write `field: value` on lines of their own")
    return node


class _Composer:
    """Makes nodes of the events of one document."""

    def __init__(self, path: Path, loader: yaml.SafeLoader) -> None:
        self._path, self._loader = path, loader
        self._anchors: dict[str, Node | None] = {}  # None: of what is not read to its end
        self._values = 0

    def document(self) -> Node:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            raise self._refusal(start, "holds comments alone", "write `field: value` lines")
        if start.version not in (None, (1, 2)):
            raise self._refusal(start, "asks for YAML 1.1", "write %YAML 1.2, or no such line")
        node = self._node(self._next(), 1)
        self._next()
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refusal(after, "a second document begins", "keep one manifest a file")
        return node

    def _next(self) -> Any:
        return self._loader.get_event()  # type: ignore[no-untyped-call]

    def _refusal(self, event: Any, problem: str, remedy: str) -> UserError:
        spot = event if isinstance(event, Spot) else _spot(event.start_mark)
        return UserError(self._path, f"{spot}: {problem}", remedy)

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._bounded(event, self._aliased(event))
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {shown(tag)} has no meaning in a manifest"
            raise self._refusal(event, problem, "write the value alone, text in quotes")
        if depth > MOST_DEPTH:
            raise self._too_deep(event)
        if event.anchor in self._anchors:
            problem = f"the anchor &{event.anchor} stands twice"
            raise self._refusal(event, problem, "give each anchor a name of its own")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _whole(_spot(event.start_mark), list(self._elements(depth)))
        else:
            node = _whole(_spot(event.start_mark), self._fields(depth))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return self._bounded(event, node)

    def _too_deep(self, event: Any) -> UserError:
        problem = f"is nested more than {MOST_DEPTH} deep"
        return self._refusal(event, problem, "write the fields that the manifest has, no deeper")

    def _bounded(self, event: Any, node: Node) -> Node:
        if node.height > MOST_DEPTH:
            raise self._too_deep(event)
        if node.values > MOST_VALUES or node.characters > MOST_CHARACTERS:
            problem = (
                f"holds more than {MOST_VALUES:,} values or {MOST_CHARACTERS:,} characters, what "
                "aliases stand for counted each time"
            )
            raise self._refusal(event, problem, "say less in one manifest, or without aliases")
        return node

    def _aliased(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            problem = f"no anchor &{event.anchor} stands before *{event.anchor}"
            raise self._refusal(event, problem, "write what it stands for, or quotes around text")
        node = self._anchors[event.anchor]
        if node is None:
            problem = f"*{event.anchor} stands inside what it stands for"
            raise self._refusal(event, problem, "write what is meant, without the alias")
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        spot, text = _spot(event.start_mark), event.value
        self._check_characters(event)
        if event.style is not None:
            return Node(spot, text, characters=len(text))
        try:
            return Node(spot, scalar(text), text, characters=len(text))
        except ValueError as error:
            raise self._refusal(event, str(error), "write a number that the field takes") from None

    def _elements(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._count(event)
            yield self._node(event, depth + 1)

    def _fields(self, depth: int) -> dict[str, Field]:
        merged: dict[str, Field] = {}
        fields: dict[str, Field] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            self._count(event)
            key = self._key(event)
            value = self._node(self._next(), depth + 1)
            spot = _spot(event.start_mark)
            if key == _MERGE and event.style is None:
                merged.update(found := self._merged(spot, value))
                self._count(event, len(found))
            elif key in fields:
                problem = f"{key}: stands in {fields[key].spot} already"
                raise self._refusal(event, problem, "keep one of the two, or join them")
            else:
                fields[key] = Field(spot, value)
        return {**merged, **fields}

    def _count(self, event: Any, values: int = 1) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            problem = f"holds more than {MOST_VALUES:,} values"
            raise self._refusal(event, problem, "say less in one manifest")

    def _key(self, event: Any) -> str:
        """A field's name: the key as it is written, since JSON and the models know no other."""
        if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
            problem = "a key is no plain text"
            raise self._refusal(event, problem, "write the name of a field before the colon")
        if not event.value or len(event.value) > MOST_KEY_CHARACTERS:
            problem = f"a key has {len(event.value):,} characters"
            remedy = f"write a name of 1 to {MOST_KEY_CHARACTERS} characters before the colon"
            raise self._refusal(event, problem, remedy)
        self._check_characters(event)
        return str(event.value)

    def _check_characters(self, event: yaml.ScalarEvent) -> None:
        if odd := _NEVER_MEANT.search(event.value):
            problem = f"text holds the character U+{ord(odd.group()):04X}"
            raise self._refusal(event, problem, "write the text without it")

    def _merged(self, spot: Spot, value: Node) -> dict[str, Field]:
        """Fields of the mapping behind `<<`, or of several, of which the first counts."""
        found: dict[str, Field] = {}
        several = value.content if isinstance(value.content, list) else [value]
        for node in reversed(several):
            if not isinstance(node.content, dict):
                problem = "<<: stands for no fields"
                raise self._refusal(spot, problem, "name an anchor (*name) of a mapping there")
            found.update(node.content)
        return found


def _whole(spot: Spot, content: list[Node] | dict[str, Field]) -> Node:
    if isinstance(content, dict):
        parts, characters = [field.value for field in content.values()], sum(map(len, content))
    else:
        parts, characters = content, 0
    return Node(
        spot,
        content,
        values=1 + sum(part.values for part in parts),
        characters=characters + sum(part.characters for part in parts),
        height=1 + max((part.height for part in parts), default=0),
    )


def _spot(mark: Any) -> Spot:
    return Spot(mark.line + 1, mark.column + 1)


def _remedy(told: str) -> str:
    if "'\\t'" in told:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in told:
        return "put text that holds `: ` in quotes, and check how the line is indented"
    return "correct the line it names; text that begins with a sign of YAML goes in quotes"
