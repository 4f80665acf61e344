"""The charts are sound SVG, with a point for each value at its place."""

from __future__ import annotations

from xml.etree import ElementTree

from results import results

from speed.chart import LEFT, RIGHT, WIDTH, Axis, growth, ratios

SVG = "{http://www.w3.org/2000/svg}"


def points(svg: str) -> list[tuple[str, float, float]]:
    """Title and place of each point within the plot; those of the legend have no value."""
    root = ElementTree.fromstring(svg)
    found = []
    for circle in root.iter(f"{SVG}circle"):
        title = circle.findtext(f"{SVG}title")
        assert title is not None
        if ": " in title:
            found.append((title, float(circle.attrib["cx"]), float(circle.attrib["cy"])))
    return found


def test_an_axis_is_logarithmic() -> None:
    axis = Axis(0.1, 10, 0, 200)
    assert [axis.at(value) for value in (0.1, 1, 10)] == [0, 100, 200]
    assert [round(tick, 6) for tick in axis.ticks()] == [0.1, 0.2, 0.5, 1, 2, 5, 10]


def test_a_point_for_each_network_and_system() -> None:
    found = points(ratios(results(), "1"))
    assert [title for title, _, _ in found] == ["float: 4.00", "openvino: 0.50"] * 2
    (_, slow, first), (_, fast, same), (_, again, second), _ = found
    assert LEFT < fast < slow < WIDTH - RIGHT
    assert slow == again
    assert first == same < second


def test_a_line_for_each_system_that_can() -> None:
    svg = growth(results(), "quantize_s", "seconds")
    assert [title for title, _, _ in points(svg)] == ["fxq-x86: 0.55", "fxq-x86: 0.6"]
    assert svg.count("<polyline") == 1
    (_, x1, y1), (_, x2, y2) = points(svg)
    assert x1 < x2
    assert y1 > y2
    both = growth(results(), "ms", "ms")
    assert both.count("<polyline") == 2


def test_names_are_escaped() -> None:
    found = results()
    found["settings"]["baseline"] = "a<b"
    assert "a&lt;b" in ratios(found, "1")
