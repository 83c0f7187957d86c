"""Print a preview of exclusion rules as tables, notices or JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from imp_data.pipeline.rules_preview import Preview, RulePreview


def preview_json(preview: Preview) -> dict[str, Any]:
    """Return a preview as JSON for a program."""
    return {
        "samples": preview.samples.total(),
        "matched": preview.matched,
        "rules": [_rule_json(one, preview) for one in preview.rules],
        "absent": preview.absent,
    }


def _rule_json(one: RulePreview, preview: Preview) -> dict[str, Any]:
    return {
        "name": one.rule.name,
        "because": one.rule.because,
        "expect": one.rule.expect,
        "matched": one.counts.total(),
        "by_subset": [
            {"source": key[0], "subset": key[1], "matched": n, "samples": preview.samples[key]}
            for key, n in sorted(one.counts.items())
        ],
        "images_unknown": {source: n for source, n in sorted(one.unknown.items()) if n},
        "examples": [
            {name: value for name, value in example._asdict().items() if name != "key"}
            for example in one.examples
        ],
    }


def preview_tables(
    preview: Preview,
) -> Iterator[tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]]:
    """Yield the title, header and rows of the tables of counts and of each rule's examples."""
    counts = [row for one in preview.rules for row in _count_rows(one, preview)]
    title = f"{preview.matched:,} of {preview.samples.total():,} samples match a rule"
    yield title, ("rule", "source", "subset", "matched", "samples"), counts
    for one in preview.rules:
        if one.examples:
            rows = [(e.id, e.excerpt, _format(e.evidence)) for e in one.examples]
            matched = f"{one.rule.name}: the first {len(rows)} of {one.counts.total():,}"
            yield matched, ("id", "text", "found"), rows


def _count_rows(one: RulePreview, preview: Preview) -> Iterator[tuple[str, ...]]:
    """Yield a row for each subset with a match; one row for a rule that matches nothing."""
    if not one.counts:
        yield one.rule.name, "", "", "0", ""
    for (source, subset), count in sorted(one.counts.items()):
        samples = preview.samples[source, subset]
        yield one.rule.name, source, subset or "(none)", f"{count:,}", f"{samples:,}"


def preview_notices(preview: Preview) -> Iterator[str]:
    """Yield what the preview does not cover."""
    for source, why in preview.absent.items():
        yield f"not covered: {source}: {why}"
    for one in preview.rules:
        for source, count in sorted(one.unknown.items()):
            if count:
                yield (
                    f"not covered: {one.rule.name}: {count:,} samples of {source}, "
                    "whose images no build has read"
                )


def _format(evidence: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in evidence.items() if name != "pattern")
