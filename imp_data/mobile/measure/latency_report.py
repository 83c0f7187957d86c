"""The latency report of an export, beside the rows of the Imp paper's Table 4."""

from collections.abc import Iterator

from pydantic import BaseModel

from imp_data.mobile.gguf.quantize import Precision


class Spread(BaseModel):
    """Median, least and most of several runs."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


class LatencyRow(BaseModel):
    """One precision at one resolution. Names as in the paper's Table 4."""

    precision: Precision
    vision_precision: Precision
    resolution: int
    flash_attention: bool
    # Expected seconds without and with flash attention, from a shorter answer; the lower is chosen.
    probed_s: dict[str, float]
    image_tokens: int
    prompt_tokens: int
    answer_tokens: int
    t_ve_s: Spread
    s_prompt: Spread
    s_gen: Spread
    t_total_s: Spread
    predicted_s: float
    size_bytes: int
    peak_bytes: int

    @property
    def difference(self) -> float:
        """Relative difference of the time predicted from the parts to the measured time."""
        return self.predicted_s / self.t_total_s.median - 1


class PaperRow(BaseModel):
    """A row of Table 4: Imp-3B in 4 bits on a Snapdragon 8 Gen 3."""

    resolution: int
    t_ve_s: float
    s_prompt: float
    s_gen: float
    t_total_s: float


PAPER_ROWS = [
    PaperRow(resolution=384, t_ve_s=8.88, s_prompt=14.02, s_gen=11.02, t_total_s=70.12),
    PaperRow(resolution=196, t_ve_s=2.10, s_prompt=15.64, s_gen=12.73, t_total_s=22.72),
]


class LatencyReport(BaseModel):
    """Every measured configuration, and the load of the machine before."""

    model: str
    # The wheel or a llama-server, with its version.
    runtime: str
    threads: int
    runs: int
    load_before: float
    rows: list[LatencyRow]

    def lines(self) -> Iterator[str]:
        """Yield a text table: medians, least and most in brackets, the paper's rows below."""
        yield (
            f"{self.model} in {self.runtime}: {self.threads} threads,"
            f" median of {self.runs} runs (least–most); load before {self.load_before:.1f}"
        )
        yield (
            f"{'':<20} {'T_VE s':<20} {'S_prompt t/s':<24} {'S_gen t/s':<22} {'T_total s':<24}"
            f" {'predicted':>16} {'size':>8} {'peak':>8}  flash"
        )
        for row in self.rows:
            yield (
                f"{row.precision.value + ' @' + str(row.resolution):<20} {row.t_ve_s!s:<20}"
                f" {row.s_prompt!s:<24} {row.s_gen!s:<22} {row.t_total_s!s:<24}"
                f" {row.predicted_s:>7.2f} ({row.difference:+.1%})"
                f" {row.size_bytes / 1e9:>5.2f} GB {row.peak_bytes / 1e9:>5.2f} GB"
                f"  {'on' if row.flash_attention else 'off'}"
            )
        for paper in PAPER_ROWS:
            name = f"paper, 4 bits @{paper.resolution}"
            yield (
                f"{name:<20} {paper.t_ve_s:<20} {paper.s_prompt:<24} {paper.s_gen:<22}"
                f" {paper.t_total_s}"
            )
