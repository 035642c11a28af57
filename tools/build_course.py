"""Execute all notebooks and write them as web pages, with a page of contents: build/course/index.html.

    .venv/bin/python tools/build_course.py

The notebooks themselves are not changed. The pages need no network, follow the light or dark of the browser, and appear all
at once, when the last notebook has run.
"""

import asyncio
import html
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from run_notebook import client, keep_last_states

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGETS = "application/vnd.jupyter.widget-state+json"
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$]+?)(?<!\s)\$(?!\d)", flags=re.DOTALL)
#: What the converter of formulas does not know, and what says the same.
UNKNOWN = ((r"\\[bB]igg?[lrm]?(?=\s*(\\[a-zA-Z]|\|))", ""), (r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}"))
STYLE = """math[display=block] {{ margin: 1em 0; overflow: auto hidden; }}
math {{ font-size: 108%; }}
menclose {{ padding: 0.4em; border: 1px solid; }}
@media (prefers-color-scheme: dark) {{
:root {{ color-scheme: dark; }}
{dark}
}}
"""

CONTENTS = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minimm: contents</title>
<style>
body {{ max-width: 44rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }}
@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; }} body {{ color: #ddd; background: #111; }} }}
li {{ margin-bottom: 1rem; }}
li a {{ font-weight: 600; }}
li p {{ margin: 0; }}
</style>
</head>
<body>
<h1>minimm</h1>
<p>Multimodal learning from scratch. The controls of these pages move in JupyterLab only: <code>make lab</code>.</p>
<ol>
{entries}
</ol>
</body>
</html>
"""


def main(notebooks=ROOT / "notebooks", target=ROOT / "build" / "course"):
    found = [path for path in notebooks.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    paths = sorted(found, key=lambda path: (len(path.relative_to(notebooks).parts), path))
    if not paths:
        sys.exit(f"minimm: there are no notebooks in {notebooks}.")

    new = target.with_name(target.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    entries = []
    for path in paths:
        name = path.relative_to(notebooks)
        print(f"{name.as_posix()} ...", end=" ", flush=True)
        start = time.monotonic()
        notebook = execute(path)
        page = new / name.with_suffix(".html")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(to_html(notebook, path), encoding="utf-8")
        entries.append(contents_entry(notebook, name))
        print(f"{time.monotonic() - start:.0f} s", flush=True)
    (new / "index.html").write_text(CONTENTS.format(entries="\n".join(entries)), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(new, target)
    print(f"The course is in {target / 'index.html'}")


def execute(path):
    """The notebook with the outputs of a fresh run, in its own folder, on the kernel of this environment."""
    notebook = nbformat.read(path, as_version=4)
    # A kernel's warnings are about networks; this one serves this process only.
    running = client(notebook, path, timeout=None, extra_arguments=["--log-level=ERROR"])
    # What cells print is in the notebook. Apart from that a kernel talks to the terminal, mostly as it ends: about the
    # signal that stops it, about its sockets. That is kept back, and told when the run fails: it may say why.
    with tempfile.TemporaryFile() as said:
        try:
            running.execute(stdout=said, stderr=said)
        except (CellExecutionError, RuntimeError) as error:  # a kernel that dies is a RuntimeError
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            why = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else error
            sys.exit(f"\nminimm: {path.name} stopped with {why}. Open it with make lab and run it there.")
    keep_last_states(notebook)
    return notebook


def to_html(notebook, path):
    """One page that works without a kernel."""
    stand_still(notebook)
    resources = {"metadata": {"name": title(notebook) or path.stem, "path": str(path.parent)}}
    # Without embed_images, which would close every <details> before what it hides: pictures come from cells here.
    exporter = HTMLExporter()
    page, _ = exporter.from_notebook_node(notebook, resources)
    soup = BeautifulSoup(page, features="html.parser")
    for script in soup.select("script"):
        if not script.find_parent(class_="jp-OutputArea"):  # for live widgets and for formulas, from the network
            script.decompose()
    draw_formulas(soup)
    style = soup.new_tag("style")
    themes = (Path(folder) / "static" / "theme-dark.css" for folder in exporter.template_paths)
    style.string = STYLE.format(dark=next(theme for theme in themes if theme.exists()).read_text(encoding="utf-8"))
    soup.head.append(style)
    link_pages(soup)
    return str(soup)


def draw_formulas(soup):
    """Write LaTeX as MathML, which a browser draws without a script, and so without the network."""
    for text in soup.find_all(string=FORMULA):
        if text.find_parent(["code", "pre", "style", "textarea", "title"]):
            continue
        parts, end = [], 0
        for found in FORMULA.finditer(text):
            parts += [html.escape(text[end:found.start()]), mathml(*found.groups())]
            end = found.end()
        parts.append(html.escape(text[end:]))
        text.replace_with(BeautifulSoup("".join(parts), features="html.parser"))


def mathml(block, inline):
    latex = block or inline
    for pattern, same in UNKNOWN:
        latex = re.sub(pattern, same, latex)
    return convert(latex, display="block" if block else "inline")


def link_pages(soup):
    """Let the links to other notebooks of the course lead to their pages."""
    for link in soup.select("a[href]"):
        if "://" not in link["href"]:
            link["href"] = re.sub(r"\.ipynb(?=#|$)", ".html", link["href"])


def stand_still(notebook):
    """Replace every widget by what it shows now: without a kernel it cannot move."""
    models = notebook.metadata.pop("widgets", {}).get(WIDGETS, {}).get("state", {})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                still
                for output in cell.outputs
                for still in (
                    widget_outputs(output.data[WIDGET]["model_id"], models) if WIDGET in output.get("data", {}) else [output]
                )
            ]


def widget_outputs(model_id, models):
    """What a widget shows, and those that it holds: the outputs it captured, its label with its value."""
    if model_id not in models:
        return []
    name, state = models[model_id]["model_name"], models[model_id]["state"]
    if name == "OutputModel":
        return [nbformat.from_dict(output) for output in state.get("outputs", [])]
    children = [child.removeprefix("IPY_MODEL_") for child in state.get("children") or []]
    if children:
        return [output for child in children for output in widget_outputs(child, models)]
    value, label = state.get("value"), state.get("description", "")
    if value is None and state.get("index") is not None:  # a choice among several
        value = state["_options_labels"][state["index"]]
    if name in ("HTMLModel", "HTMLMathModel"):
        shown = f"{html.escape(label)} {value}"
    elif name == "LabelModel" or (label and value is not None):
        shown = html.escape(f"{label} {value}")
    else:
        return []
    return [nbformat.v4.new_output("display_data", {"text/html": f"<div>{shown}</div>"})]


def title(notebook):
    """The text of the first heading, None without one."""
    for cell in notebook.cells:
        heading = re.search(r"^#+ +(.+)$", cell.source, flags=re.MULTILINE) if cell.cell_type == "markdown" else None
        if heading:
            return BeautifulSoup(markdown2html(heading[1]), features="html.parser").get_text().strip()
    return None


def contents_entry(notebook, name):
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n|^#+ .*$", text, flags=re.MULTILINE) if part.strip()]
    about = BeautifulSoup(markdown2html(paragraphs[0]) if paragraphs else "", features="html.parser")
    link_pages(about)
    draw_formulas(about)
    href, number = name.with_suffix(".html").as_posix(), re.match(r"\d+", name.name)
    item = f'<li value="{int(number[0])}">' if number else "<li>"  # the lesson's own number
    return f'{item}<a href="{href}">{html.escape(title(notebook) or name.stem)}</a>{about}</li>'


if __name__ == "__main__":
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the kernel's debugger warns about frozen modules
    if os.name == "nt":  # the messages of the kernel need a loop that can watch sockets
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    main()
