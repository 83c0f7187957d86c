"""Print the report of an audit as tables of at most 80 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from imp_data.audit.texts import QUANTILES
from imp_data.ledger import Outcome
from imp_data.redaction import redact

_WIDTH = 80
_QUANTILE_TITLES = {"median": "median", "p95": "95 %", "p99": "99 %", "most": "longest"}

_Cells = tuple[str, ...]


class _Section(NamedTuple):
    """A table with its title; `numbers` are the columns of numbers."""

    title: str
    header: _Cells
    rows: Sequence[_Cells]
    numbers: frozenset[int] = frozenset({1})


def print_report(found: dict[str, Any]) -> None:
    """Print a report; a table without rows is left out."""
    console = Console(highlight=False, soft_wrap=False)
    console.width = min(console.width, _WIDTH)
    console.print(Text(redact("\n".join(_summary(found)))), end="\n")
    for title, header, rows, numbers in _sections(found):
        if not rows:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for place, name in enumerate(header):
            is_number = place in numbers
            justify: JustifyMethod = "right" if is_number else "left"
            table.add_column(name, overflow="fold", justify=justify, no_wrap=is_number)
        for row in rows:
            table.add_row(*(Text(redact(cell)) for cell in row))
        console.print()
        console.print(Text(title, style="bold"))
        console.print(table)


def _summary(found: dict[str, Any]) -> Iterator[str]:
    """Yield the first lines: what was audited, and how much of it a build would keep."""
    yield found["path"]
    rows, kept = found["rows"], found["outcomes"].get(Outcome.KEPT, 0)
    limited = f" (the first, by --limit {found['limit']:,})" if found["limit"] else ""
    yield f"{_count(rows, 'record')}{limited}: {kept:,} kept ({_share(kept, rows)}), " + (
        f"{rows - kept:,} dropped ({_share(rows - kept, rows)})"
    )
    yield f"licence: {found['license'] or 'not stated'}"


def _sections(found: dict[str, Any]) -> Iterator[_Section]:
    """Yield the tables."""
    forms = [
        (one["form"], f"{one['files']:,}", f"{one['rows']:,}", one["first_file"])
        for one in found["records"]
    ]
    yield _Section("Forms", ("form", "files", "records", "first file"), forms, frozenset({1, 2}))
    not_read = [*found["not_read"].items()]
    yield _Section("Files that are not read", ("file", "problem"), not_read, frozenset())
    rows = found["rows"]
    reasons = [
        (one["reason"], f"{one['records']:,}", _share(one["records"], rows), _explained(one))
        for one in found["reasons"]
    ]
    header = ("reason", "records", "share", "meaning, and the first of them")
    yield _Section("Why records are dropped", header, reasons, frozenset({1, 2}))
    repairs = [(one["repair"], f"{one['records']:,}", one["sentence"]) for one in found["repairs"]]
    yield _Section("Repairs", ("repair", "records", "meaning"), repairs)
    ignored = _counts(found["ignored_fields"])
    yield _Section("Fields without meaning for training", ("field", "records"), ignored)
    yield _Section("Images", ("images", "count"), _counts(_image_counts(found)))
    content = {
        "questions with conflicting answers on one image": found["contradictions"]["questions"],
        **{f"records: {reason}": count for reason, count in found["contaminated"].items()},
    }
    yield _Section("Content", ("finding", "count"), _counts(content))
    asked = [
        (benchmark, f"{count:,}", seen.replace("_", " "))
        for benchmark, counts in found["benchmark_questions"].items()
        for seen, count in counts.items()
    ]
    yield _Section("What records have of benchmarks", ("benchmark", "records", "seen"), asked)
    yield from _length_sections(found)
    effects = [(one["trainer"], f"{one['records']:,}", one["effect"]) for one in found["trainers"]]
    title = "What trainers do with these records"
    yield _Section(title, ("trainer", "records", "effect"), effects)


def _explained(reason: dict[str, Any]) -> str:
    example = reason["examples"][0]
    name = example["upstream_id"] or f"row {example['ordinal']}"
    return f"{reason['sentence']} First: {name}"


def _image_counts(found: dict[str, Any]) -> dict[str, int]:
    same, near = found["same_bytes"], found["near_duplicates"]
    return {
        **found["images"],
        "smaller than the limit": found["too_small_images"],
        f"with equal bytes, in {_count(same['groups'], 'group')}": same["images"],
        f"near-duplicates within {near['within_bits']} bits, in "
        f"{_count(near['clusters'], 'cluster')}": near["images"],
    }


def _length_sections(found: dict[str, Any]) -> Iterator[_Section]:
    """Yield the lengths of the records that can be read, in words and in tokens."""
    header = ("", *_QUANTILE_TITLES.values(), "longest record")
    places = frozenset(range(1, 1 + len(QUANTILES)))
    rows = [_lengths(name, found["text"][name]) for name in ("turns", "words", "characters")]
    tokens = found["tokens"]
    if tokens:
        rows.append(_lengths("tokens", tokens))
    yield _Section("Lengths", header, [row for row in rows if row], places)
    if not tokens:
        return
    facts = [
        ("tokenizer", tokens["tokenizer"]),
        ("template", tokens["template"]),
        ("tokens of each image", f"{tokens['image_tokens']:,}"),
    ]
    if tokens["max_tokens"] is not None:
        above = f"records above {tokens['max_tokens']:,} tokens"
        facts.append((above, f"{tokens['above_max_tokens']:,}"))
    facts += [(f"not counted: {why}", f"{n:,}") for why, n in tokens["not_counted"].items()]
    yield _Section("Tokens", ("how they are counted", ""), facts, frozenset())


def _lengths(name: str, numbers: Mapping[str, Any]) -> _Cells:
    """Return the row of one measure; none if no record can be read."""
    if "median" not in numbers:
        return ()
    quantiles = (f"{numbers[quantile]:,}" for quantile in QUANTILES)
    return (name, *quantiles, str(numbers["longest"]["upstream_id"]))


def _counts(counts: Mapping[str, int]) -> list[_Cells]:
    return [(name, f"{count:,}") for name, count in counts.items()]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
