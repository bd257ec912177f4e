"""The figures of all rounds, each beside its baseline and its goal, and what they say about it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a figure is to be. `of`: the figure itself, its ratio to the baseline's, or what it has more than that."""

    bound: Literal["<=", ">="]
    number: float
    of: Literal["figure", "ratio", "difference"] = "figure"

    def results(self, ours: Sequence[float], baseline: Sequence[float]) -> list[float]:
        """What is held against the number, for each round."""
        if self.of == "figure":
            return list(ours)
        do: Callable[[float, float], float] = operator.truediv if self.of == "ratio" else operator.sub
        return [do(one, other) for one, other in zip(ours, baseline, strict=False)]  # a round may have been broken off

    def is_met(self, result: float) -> bool:
        return result <= self.number if self.bound == "<=" else result >= self.number


@dataclass(kw_only=True)
class Row:
    """One figure, with a number for each round."""

    name: str
    unit: str
    goal: Goal | None
    baseline_name: str = ""
    ours: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    note: str = ""

    def results(self) -> list[float]:
        return [] if self.goal is None else self.goal.results(self.ours, self.baseline)

    def is_measured(self) -> bool:
        """Whether there are figures to show."""
        return bool(self.results() if self.goal else self.ours)

    def is_noise(self) -> bool:
        """Whether the rounds are further apart than their median is from the goal."""
        results = self.results()
        return self.goal is not None and max(results) - min(results) > abs(median(results) - self.goal.number)

    def is_missed(self) -> bool:
        """Whether the median misses the goal."""
        return self.goal is not None and not self.goal.is_met(median(self.results()))

    def cells(self) -> list[str]:
        """Name, ours, baseline, result, goal and verdict, as text."""
        baseline = f"{spread(self.baseline)} {self.baseline_name}" if self.baseline else "-"
        cells = [self.name, f"{spread(self.ours)} {self.unit}".rstrip(), baseline]
        if self.goal is None:
            return [*cells, "", "", self.note]
        sign = "+" if self.goal.of == "difference" else ""
        result = spread(self.results(), sign) if self.goal.of != "figure" else ""
        verdict = ("missed" if self.is_missed() else "ok") + (", noise" if self.is_noise() else "")
        goal = f"{self.goal.bound} {number(self.goal.number, sign)}"
        return [*cells, result, goal, f"{verdict}; {self.note}" if self.note else verdict]


class Table:
    """Every row, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failures: list[str] = []

    def row(self, name: str, unit: str, goal: Goal | None, *, baseline: str = "") -> Row:
        """A new row, which is filled round by round. `baseline` names what its figures are beside."""
        made = Row(name=name, unit=unit, goal=goal, baseline_name=baseline)
        self.rows.append(made)
        return made

    def lines(self) -> list[str]:
        heads = ["figure", "ours", "baseline", "result", "goal", "verdict"]
        cells = [heads, *(row.cells() for row in self.rows if row.is_measured())]
        widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
        padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return [line.rstrip() for line in padded]

    def is_missed(self) -> bool:
        """Whether a goal is missed by more than noise, or a part could not be measured."""
        return bool(self.failures) or any(
            row.is_measured() and row.is_missed() and not row.is_noise() for row in self.rows
        )


def spread(figures: Sequence[float], sign: str = "") -> str:
    """The median, and the least and the most where there are several rounds."""
    middle = number(median(figures), sign)
    return middle if len(figures) == 1 else f"{middle} ({number(min(figures), sign)} to {number(max(figures), sign)})"


def number(value: float, sign: str = "") -> str:
    """Three digits that count. `sign`: "+" to have one before what is not less than nothing."""
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3g}"


def percentile(figures: Sequence[float], per_cent: int) -> float:
    """The figure that so many per cent are below; with fewer than a hundred the 99th is the largest."""
    ranked = sorted(figures)
    return ranked[min(len(ranked) - 1, len(ranked) * per_cent // 100)]
