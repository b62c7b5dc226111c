"""What the manual draws and tabulates itself, from the code, the specification and the tests."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext import architecture, life, measurements, sequences, statespace, traceability


def html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


class KeyLife(SphinxDirective):
    """The life of a key, from the core's table of transitions."""

    def run(self) -> list[nodes.Node]:
        return [html(life.draw()), *self.parse_text_to_nodes(life.legend())]


class Sequence(SphinxDirective):
    """A scenario, run on the queue, recorded and drawn."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [html(sequences.draw(self.arguments[0]))]


class Architecture(SphinxDirective):
    """The modules of the package and who imports whom."""

    def run(self) -> list[nodes.Node]:
        return [html(architecture.draw())]


class StateGraph(SphinxDirective):
    """Every state of a small model, as TLC found them."""

    def run(self) -> list[nodes.Node]:
        return [html(statespace.draw())]


class Generated(SphinxDirective):
    """A part of the assurance case, written from the sources."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = traceability.PARTS[self.arguments[0]]()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Measurements(SphinxDirective):
    """What the benchmarks found."""

    def run(self) -> list[nodes.Node]:
        return [*self.parse_text_to_nodes(measurements.figures()), html(measurements.pictures())]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("key-life", KeyLife)
    app.add_directive("sequence", Sequence)
    app.add_directive("architecture", Architecture)
    app.add_directive("state-graph", StateGraph)
    app.add_directive("measurements", Measurements)
    app.add_directive("generated", Generated)
    # The pictures depend on files that Sphinx knows nothing of: read every page every time.
    app.connect("env-get-outdated", lambda app, env, *_: list(env.found_docs))
    return {"parallel_read_safe": True}
