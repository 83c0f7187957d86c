"""Parse a manifest's YAML into values with positions, within limits that aliases cannot bypass."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from imp_data.errors import UserError
from imp_data.manifests.yaml_scalars import Scalar, parse_scalar, quote_short
from imp_data.manifests.yaml_text import Position

MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_CHARACTERS = 4 << 20
MAX_KEY_CHARACTERS = 256
# Quoted text can contain any character; these are always mistakes.
_UNINTENDED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MERGE = "<<"


class Node(NamedTuple):
    """A value with its position; `plain` is the text of an unquoted scalar.

    `values`, `characters` and `height` (levels) count everything inside, with aliases expanded.
    """

    position: Position
    content: "Scalar | list[Node] | dict[str, Entry]"
    plain: str | None = None
    values: int = 1
    characters: int = 0
    height: int = 1

    def to_python(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.content, dict):
            return {name: field.value.to_python() for name, field in self.content.items()}
        if isinstance(self.content, list):
            return [node.to_python() for node in self.content]
        return self.content

    def locate(self, location: tuple[str | int, ...]) -> tuple[Position, "Node | None"]:
        """Return the position and the value of a field or an element.

        For one that does not exist, return the position of the innermost enclosing one, and None.
        """
        position, node = self.position, self
        for step in location:
            if isinstance(node.content, dict) and isinstance(step, str) and step in node.content:
                position, node = node.content[step]
            elif isinstance(node.content, list) and step in range(len(node.content)):
                node = node.content[int(step)]
                position = node.position
            else:
                return position, None
        return position, node


class Entry(NamedTuple):
    """A field of a mapping: the position of its key, and its value."""

    position: Position
    value: Node


def parse_document(path: Path, text: str) -> Node:
    """Return the mapping in this text, which contains one document of YAML 1.2's core schema.

    Merge keys (`<<`) are supported in addition. Raise UserError with line and column if the text is
    not YAML, exceeds a limit, or repeats a key.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = _Composer(path, loader).document()
    except yaml.MarkedYAMLError as error:
        position = _position(error.problem_mark or error.context_mark or loader.get_mark())
        message = " ".join(filter(None, (error.context, error.problem)))
        raise UserError(path, f"{position}: is not YAML: {message}", _remedy(message)) from None
    except (ValueError, OverflowError) as error:  # an escape of a code point that does not exist
        position = _position(loader.get_mark())
        problem = f"{position}: is not YAML: {error}"
        raise UserError(path, problem, "correct the escape (\\…) before it") from None
    finally:
        loader.dispose()
    if not isinstance(node.content, dict):
        problem = f"{node.position}: contains no fields"
        raise UserError(path, problem, "write `field: value` lines")
    return node


class _Composer:
    """Builds nodes from the parser events of one document."""

    def __init__(self, path: Path, loader: yaml.SafeLoader) -> None:
        self._path, self._loader = path, loader
        self._anchors: dict[str, Node | None] = {}  # None: not complete yet
        self._values = 0

    def document(self) -> Node:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            raise self._error(start, "contains only comments", "write `field: value` lines")
        if start.version not in (None, (1, 2)):
            raise self._error(start, "declares YAML 1.1", "write %YAML 1.2, or leave the line out")
        node = self._node(self._next(), 1)
        self._next()
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(after, "a second document begins", "write one manifest per file")
        return node

    def _next(self) -> Any:
        return self._loader.get_event()  # type: ignore[no-untyped-call]

    def _error(self, event: Any, problem: str, remedy: str) -> UserError:
        position = event if isinstance(event, Position) else _position(event.start_mark)
        return UserError(self._path, f"{position}: {problem}", remedy)

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._check_limits(event, self._resolve_alias(event))
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            problem = f"the tag {quote_short(tag)} is not supported in a manifest"
            raise self._error(event, problem, "write the value without a tag, text in quotes")
        if depth > MAX_DEPTH:
            raise self._too_deep(event)
        if event.anchor in self._anchors:
            problem = f"the anchor &{event.anchor} is defined twice"
            raise self._error(event, problem, "give each anchor a distinct name")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _collection(_position(event.start_mark), list(self._elements(depth)))
        else:
            node = _collection(_position(event.start_mark), self._fields(depth))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return self._check_limits(event, node)

    def _too_deep(self, event: Any) -> UserError:
        problem = f"is nested more than {MAX_DEPTH} deep"
        return self._error(event, problem, "write the fields that a manifest has, no deeper")

    def _check_limits(self, event: Any, node: Node) -> Node:
        if node.height > MAX_DEPTH:
            raise self._too_deep(event)
        if node.values > MAX_VALUES or node.characters > MAX_CHARACTERS:
            problem = (
                f"contains more than {MAX_VALUES:,} values or {MAX_CHARACTERS:,} characters, with "
                "aliases expanded"
            )
            raise self._error(event, problem, "shorten the manifest, or use fewer aliases")
        return node

    def _resolve_alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            problem = f"no anchor &{event.anchor} precedes *{event.anchor}"
            raise self._error(event, problem, "write the value itself, or put text in quotes")
        node = self._anchors[event.anchor]
        if node is None:
            problem = f"*{event.anchor} refers to a value that contains it"
            raise self._error(event, problem, "write the value without the alias")
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        position, text = _position(event.start_mark), event.value
        self._check_characters(event)
        if event.style is not None:
            return Node(position, text, characters=len(text))
        try:
            return Node(position, parse_scalar(text), text, characters=len(text))
        except ValueError as error:
            raise self._error(event, str(error), "write a number that the field accepts") from None

    def _elements(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._count(event)
            yield self._node(event, depth + 1)

    def _fields(self, depth: int) -> dict[str, Entry]:
        merged: dict[str, Entry] = {}
        fields: dict[str, Entry] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            self._count(event)
            key = self._key(event)
            value = self._node(self._next(), depth + 1)
            position = _position(event.start_mark)
            if key == _MERGE and event.style is None:
                merged.update(found := self._merge(position, value))
                self._count(event, len(found))
            elif key in fields:
                problem = f"{key}: is already defined in {fields[key].position}"
                raise self._error(event, problem, "keep one of the two, or join them")
            else:
                fields[key] = Entry(position, value)
        return {**merged, **fields}

    def _count(self, event: Any, values: int = 1) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            problem = f"contains more than {MAX_VALUES:,} values"
            raise self._error(event, problem, "shorten the manifest")

    def _key(self, event: Any) -> str:
        """Return the key as written: JSON and the models support only text as a field name."""
        if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
            problem = "a key is not plain text"
            raise self._error(event, problem, "write the name of a field before the colon")
        if not event.value or len(event.value) > MAX_KEY_CHARACTERS:
            problem = f"a key has {len(event.value):,} characters"
            remedy = f"write a name of 1 to {MAX_KEY_CHARACTERS} characters before the colon"
            raise self._error(event, problem, remedy)
        self._check_characters(event)
        return str(event.value)

    def _check_characters(self, event: yaml.ScalarEvent) -> None:
        if found := _UNINTENDED.search(event.value):
            problem = f"text contains the character U+{ord(found.group()):04X}"
            raise self._error(event, problem, "write the text without it")

    def _merge(self, position: Position, value: Node) -> dict[str, Entry]:
        """Return the fields of the mapping behind `<<`; of several mappings, the first wins."""
        found: dict[str, Entry] = {}
        several = value.content if isinstance(value.content, list) else [value]
        for node in reversed(several):
            if not isinstance(node.content, dict):
                problem = "<<: is not a mapping"
                raise self._error(position, problem, "write the alias (*name) of a mapping")
            found.update(node.content)
        return found


def _collection(position: Position, content: list[Node] | dict[str, Entry]) -> Node:
    if isinstance(content, dict):
        parts, characters = [field.value for field in content.values()], sum(map(len, content))
    else:
        parts, characters = content, 0
    return Node(
        position,
        content,
        values=1 + sum(part.values for part in parts),
        characters=characters + sum(part.characters for part in parts),
        height=1 + max((part.height for part in parts), default=0),
    )


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _remedy(message: str) -> str:
    if "'\\t'" in message:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in message:
        return "put text that contains `: ` in quotes, and check how the line is indented"
    return "correct the line; put text that begins with a YAML indicator in quotes"
