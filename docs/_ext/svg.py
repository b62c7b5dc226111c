"""Drawing: SVG that takes its colours from the page, and is legible at the width of a phone."""

from __future__ import annotations

from html import escape

WIDTH = 360  # what a phone has to spare; on wider screens the picture is shown larger
SCALE = 1.4
SIZE = 11  # of the text
ADVANCE = 0.61 * SIZE  # of one letter: the font is monospaced
ROW = 17

COLOURS = ("#2a7de1", "#d9480f", "#2b8a3e", "#ae3ec9", "#b08800", "#0c8599")


class Picture:
    """SVG elements, and the height that they have used up."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.height = 0.0
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", style: str = ""
    ) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">'
            f"{escape(text)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, style: str = "box") -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"'
            f' class="{style}"/>'
        )

    def line(
        self,
        points: list[tuple[float, float]],
        *,
        colour: str = "currentColor",
        arrow: bool = False,
        dashed: bool = False,
    ) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"{dashes}/>'
        )
        if arrow:
            self.head(points[-2], points[-1], colour)

    def head(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """An arrow's head at `end`."""
        (x0, y0), (x1, y1) = start, end
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 or 1.0
        ux, uy = (x1 - x0) / length * 7, (y1 - y0) / length * 7
        corners = [
            (x1, y1),
            (x1 - ux + uy / 2, y1 - uy - ux / 2),
            (x1 - ux - uy / 2, y1 - uy + ux / 2),
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self.parts.append(f'<polygon points="{path}" fill="{colour}"/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>')

    def html(self) -> str:
        return (
            f'<figure class="picture"><svg role="img" aria-label="{escape(self.title)}"'
            f' viewBox="0 0 {WIDTH} {self.height:.0f}" width="{WIDTH * SCALE:.0f}"'
            f' xmlns="http://www.w3.org/2000/svg">{"".join(self.parts)}</svg></figure>'
        )
