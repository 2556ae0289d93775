"""One self-contained page: every figure over all kept runs, as inline SVG."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from typing import Any

from figures import goal_words
from measure import RESULTS

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 320, 120, 46, 18, 8
_STYLE = """
:root { color-scheme: light dark; --line: #2563eb; --goal: #b45309; --faint: #94a3b8; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--faint); }
.how { max-width: 75ch; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: 13px; }
figcaption b { font-size: 15px; }
svg { width: 100%; height: auto; }
svg text { font-size: 9px; fill: currentColor; }
.axis { stroke: var(--faint); stroke-width: 1; }
.path { stroke: var(--line); fill: none; stroke-width: 1.5; }
.median { fill: var(--line); }
.sample { fill: var(--faint); fill-opacity: .6; }
.goal { stroke: var(--goal); stroke-dasharray: 4 3; }
.missed { color: var(--goal); }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
"""


def write(results: Sequence[dict[str, Any]]) -> str:
    """Write bench/results/index.html; where it is."""
    parts: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for result in results:
        for name, part in result["parts"].items():
            parts.setdefault(name, []).append((result, part))
    body = "".join(_part(name, runs) for name, runs in parts.items())
    path = os.path.join(RESULTS, "index.html")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>memcloud.memmachine: benches</title><style>{_STYLE}</style></head><body>\n"
            "<h1>What the benches measured</h1>\n"
            "<p>Each point is the median of a run, the small ones are its samples, the dashed line "
            "is the goal. Runs on different machines are not to be compared with each other: the "
            f"table says what each was taken on.</p>\n{_runs(results)}{body}</body></html>\n"
        )
    return path


def _runs(results: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(str(cell))}</td>"
            for cell in (
                number,
                result["date"],
                result["commit"] + ("" if result["clean"] else " and changes"),
                f"{result['machine']['processors']} x {result['machine']['model']}",
                f"{result['machine']['memory_gib']:g} GiB",
                f"engine {result['machine']['engine']}",
                ", ".join(result["parts"]),
            )
        )
        + "</tr>\n"
        for number, result in enumerate(results, start=1)
    )
    head = "<tr><th>run<th>date<th>commit<th>processors<th>memory<th>Docker<th>parts</tr>\n"
    return f"<table>{head}{rows}</table>\n"


def _part(name: str, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    newest = runs[-1][1]
    plots = []
    for key, figure in newest["figures"].items():
        history = [
            (result["date"], part["figures"][key])
            for result, part in runs
            if key in part["figures"]
        ]
        plots.append(_over_runs(figure, history))
    plots += [_curve(series) for series in newest["series"].values()]
    loads = ", ".join(str(load[0]) for load in newest["load_average"])
    return (
        f'<h2 id="{name}">{html.escape(newest["title"])}</h2>\n'
        f'<p class="how">{html.escape(newest["how"])} Load average before and after: {loads}. '
        f'It took {newest["seconds"]:g} s.</p>\n<div class="plots">{"".join(plots)}</div>\n'
    )


def _over_runs(figure: dict[str, Any], history: list[tuple[str, dict[str, Any]]]) -> str:
    goal = figure.get("goal", {})
    line = goal.get("at_most", goal.get("at_least"))
    values = [value for _date, one in history for value in [*one["samples"], one["median"]]]
    scale = _Scale(range(len(history)), [*values, 0, *([line] if line is not None else [])])
    marks = []
    for number, (date, one) in enumerate(history):
        for sample in one["samples"]:
            marks.append(scale.dot(number, sample, "sample", 1.5, f"{sample:g}"))
        title = f"{one['median']:g} {one['unit']}, {date[:10]}"
        marks.append(scale.dot(number, one["median"], "median", 3, title))
    path = scale.path((number, one["median"]) for number, (_date, one) in enumerate(history))
    if line is not None:
        marks.append(scale.level(line))
    words = goal_words(figure)
    told = f'<span class="{"missed" if "missed" in words else ""}">{html.escape(words)}</span>'
    caption = (
        f"{html.escape(figure['words'])}<br><b>{figure['median']:g}</b> {figure['unit']} {told}"
    )
    return _figure(scale.axes("run") + path + "".join(marks), caption)


def _curve(series: dict[str, Any]) -> str:
    points = series["points"]
    scale = _Scale([x for x, _y in points], [0, *(y for _x, y in points)])
    marks = "".join(scale.dot(x, y, "median", 2.5, f"{x:g}: {y:g}") for x, y in points)
    caption = f"{html.escape(series['words'])}: {series['y']} by {series['x']}"
    return _figure(scale.axes(series["x"]) + scale.path(points) + marks, caption)


def _figure(inside: str, caption: str) -> str:
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    return f"<figure><svg {box}>{inside}</svg><figcaption>{caption}</figcaption></figure>\n"


class _Scale:
    """Where values are in the drawing."""

    def __init__(self, xs: Iterable[float], ys: Iterable[float]) -> None:
        xs, ys = list(xs), list(ys)
        self._x = (min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
        self._y = (min(ys), max(ys) if max(ys) > min(ys) else min(ys) + 1)

    def x(self, value: float) -> float:
        low, high = self._x
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - 10), 1)

    def y(self, value: float) -> float:
        low, high = self._y
        return round(
            _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP), 1
        )

    def dot(self, x: float, y: float, kind: str, radius: float, title: str) -> str:
        return (
            f'<circle class="{kind}" cx="{self.x(x)}" cy="{self.y(y)}" r="{radius}">'
            f"<title>{html.escape(title)}</title></circle>"
        )

    def level(self, y: float) -> str:
        at = self.y(y)
        return f'<line class="goal" x1="{_LEFT}" x2="{_WIDTH}" y1="{at}" y2="{at}"/>'

    def path(self, points: Iterable[Sequence[float]]) -> str:
        joined = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
        return f'<polyline class="path" points="{joined}"/>'

    def axes(self, x_name: str) -> str:
        bottom = _HEIGHT - _BOTTOM
        low, high = self._y
        return (
            f'<path class="axis" fill="none" d="M{_LEFT},{_TOP} V{bottom} H{_WIDTH}"/>'
            f'<text x="{_LEFT - 4}" y="{_TOP + 6}" text-anchor="end">{high:g}</text>'
            f'<text x="{_LEFT - 4}" y="{bottom}" text-anchor="end">{low:g}</text>'
            f'<text x="{_WIDTH}" y="{_HEIGHT - 6}" text-anchor="end">{html.escape(x_name)}</text>'
        )
