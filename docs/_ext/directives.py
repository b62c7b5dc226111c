"""The directives of the manual, and the pages that show the sources."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import PythonLexer, TextLexer  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext import assurance, measurements, pictures, sources

TEXTS = {
    **assurance.PARTS,
    "life": pictures.life_table,
    "figures": measurements.figures,
    "engine": measurements.engine,
}


def raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


class Picture(SphinxDirective):
    """One of the generated pictures by its name, or a graph in Graphviz's language."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        title, dot = self.arguments[0], "\n".join(self.content)
        if not dot:
            made, title = pictures.PICTURES[title]
            dot = made()
        return [raw(pictures.draw(dot, title))]


class Generated(SphinxDirective):
    """A table or a sentence that is written from the sources; folded, if it has a title."""

    required_arguments, optional_arguments = 1, 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        name, *titles = self.arguments
        found = self.parse_text_to_nodes(TEXTS[name]())
        for title in titles:
            found = [raw(f"<details><summary>{title}</summary>"), *found, raw("</details>")]
        return found


class Chart(SphinxDirective):
    """What the benchmarks found for a case, next to something: `cycle / asyncio.Queue`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        case, _, against = self.arguments[0].partition(" / ")
        return [raw(measurements.chart(case, against))]


class Rules(SphinxDirective):
    """Every rule, its group folded; a field above finds rules by any word."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = [
            raw('<input id="find-rule" type="search" placeholder="find a rule: a word, or PUT-3">')
        ]
        for group, title in assurance.groups().items():
            members = [rule for rule in assurance.rules().values() if rule.group == group]
            found.append(
                raw(
                    f'<details class="rules"><summary>{html.escape(title)}'
                    f" <small>{group}, {len(members)} rules</small></summary>"
                )
            )
            for rule in members:
                number = len(sources.tests().get(rule.id, {}))
                found += [
                    raw('<div class="rule">'),
                    *self.parse_text_to_nodes(assurance.rule_text(rule)),
                    raw(f"<details><summary>tested by {number}</summary>"),
                    *self.parse_text_to_nodes(assurance.rule_tests(rule)),
                    raw("</details></div>"),
                ]
            found.append(raw("</details>"))
        return found


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each source file as a page with an anchor for each line."""
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    for path in sources.shown():
        name = str(path.relative_to(sources.ROOT))
        lexer = PythonLexer() if path.suffix == ".py" else TextLexer()
        body = highlight(path.read_text(encoding="utf-8"), lexer, formatter)
        body = re.sub(r'"(#?)L-(\d+)"', r'"\1L\2"', body)
        yield f"source/{name}", {"title": name, "body": f"<h1>{name}</h1>{body}"}, "page.html"


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Lead `source:` links to the pages of the sources."""
    for reference in doctree.findall(nodes.reference):
        scheme, _, target = reference.get("refuri", "").partition(":")
        if scheme == "source":
            path, _, anchor = target.partition("#")
            uri = app.builder.get_relative_uri(docname, f"source/{path}")
            reference["refuri"] = f"{uri}#{anchor}" if anchor else uri


def link_docstring(
    app: Sphinx, what: str, name: str, obj: object, _: object, text: list[str]
) -> None:
    """Link a method to its source, and the actions that it names to the specification."""
    spec = sources.spec_definitions()

    def linked(match: re.Match[str]) -> str:
        place = spec.get(match[1])
        return f"`{match[1]} <source:{place.path}#L{place.line}>`__" if place else match[0]

    if any("Spec: " in line for line in text):
        whole, _, actions = "\n".join(text).partition("Spec: ")
        linked_actions = re.sub(r"``(\w+)``", linked, actions)
        text[:] = f"{whole}Spec: {linked_actions}".splitlines()
    if what in {"method", "class", "exception"} and (definition := sources.of_object(obj)):
        text += ["", f"`Source <source:{definition.path}#L{definition.line}>`__", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("picture", Picture)
    app.add_directive("generated", Generated)
    app.add_directive("chart", Chart)
    app.add_directive("rules", Rules)
    app.connect("html-collect-pages", source_pages)
    app.connect("doctree-resolved", resolve)
    app.connect("autodoc-process-docstring", link_docstring)
    # What is generated depends on files that Sphinx knows nothing of: read every page every time.
    app.connect("env-get-outdated", lambda app, env, *_: list(env.found_docs))
    return {"parallel_read_safe": True}
