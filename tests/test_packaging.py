"""Installing: the files that say what is needed agree, and whatever goes wrong ends in one line that says what to do."""

import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for Python are POSIX scripts")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def names_and_bounds(requirements):
    """{"torch": "2.4"}: the names in small letters, as conda writes them."""
    pairs = [requirement.partition(">=") for requirement in requirements]
    return {name.strip().lower(): bound for name, _, bound in pairs}


# ---- the files agree


def test_every_requirement_has_a_lower_bound_and_no_pin():
    for requirement in [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])]:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+>=[0-9.]+", requirement), requirement


def test_a_package_named_twice_has_one_bound():
    bounds = {}
    for requirement in [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])]:
        name, _, bound = requirement.partition(">=")
        assert bounds.setdefault(name, bound) == bound, name


def test_conda_environment_asks_for_the_same_as_pyproject():
    lines = re.findall(r"^  - ([^:\n]+)$", read("environment.yml").partition("dependencies:")[2], flags=re.MULTILINE)
    conda = names_and_bounds(lines)
    assert conda.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    assert conda.pop("pip") == ""
    conda["torch"] = conda.pop("pytorch")  # conda's name for it
    assert conda == names_and_bounds(PROJECT["dependencies"] + EXTRAS["test"])
    assert re.search(r"- pip:\n      - -e \.\n", read("environment.yml"))


def test_extras_are_those_that_the_setup_script_knows():
    known = re.search(r"^EXTRAS = (\(.+\))$", read("tools/setup_env.py"), flags=re.MULTILINE)[1]
    assert known == json.dumps(list(EXTRAS)).replace("[", "(").replace("]", ")")


def test_version_is_the_same_everywhere():
    version = re.search(r'^__version__ = "(.+)"$', read("minimm/__init__.py"), flags=re.MULTILINE)[1]
    assert re.search(rf"^version: {re.escape(version)}$", read("CITATION.cff"), flags=re.MULTILINE)


def test_readme_names_every_target_and_extra():
    readme = read("README.md")
    targets = re.search(r"^\.PHONY: (.+)$", read("Makefile"), flags=re.MULTILINE)[1].split()
    for target in set(targets) - {"help"}:
        assert f"`make {target}`" in readme
    for extra in EXTRAS:
        assert f"`{extra}`" in readme


def test_licence_covers_code_and_text():
    licence = read("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in licence and "Version 2.0, January 2004" in licence
    assert "CC-BY-4.0" in licence
    assert PROJECT["license"] == "Apache-2.0"


@posix_only
def test_clean_checkout_runs_what_a_reader_runs():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert read(".ci/run").splitlines()[-1] == "exec make test"


@needs_make
def test_make_alone_explains_every_target():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.+)$", read("Makefile"), flags=re.MULTILINE)[1].split()
    for target in set(targets) - {"help"}:
        assert f"make {target} " in said


# ---- what goes wrong ends in one line


@needs_make
@pytest.mark.parametrize("python", ["/nonexistent", "false"])
def test_no_python(python):
    ran = subprocess.run(["make", "lab", f"PYTHON={python}"], cwd=ROOT, capture_output=True, text=True)
    lines = [line for line in ran.stderr.splitlines() if not line.startswith("make")]
    assert ran.returncode != 0
    assert len(lines) == 1 and python in lines[0] and "3.10" in lines[0] and "python.org" in lines[0]


def run_lab(*arguments):
    command = [sys.executable, ROOT / "tools" / "lab.py", "--no-browser", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_busy_port():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ran = run_lab("--port", port)
    assert ran.returncode != 0
    assert one_line(ran.stderr) and port in ran.stderr and "in use" in ran.stderr


@pytest.mark.parametrize("port", ["notebook", "0", "65536", "²"])
def test_port_that_is_none(port):
    ran = run_lab("--port", port)
    assert ran.returncode != 0
    assert one_line(ran.stderr) and port in ran.stderr and "65535" in ran.stderr


def one_line(text):
    return len(text.splitlines()) == 1 and text.startswith("minimm: ")


# A stand-in for the Python in .venv: it tells its version, has a pip, and its pip does what the test says. What it was
# called with stands in the file "calls".
STAND_IN = """#!/bin/sh
echo "$*" >> "{folder}/calls"
case "$*" in
  "-c "*) echo 3.10 ;;
  *"pip --version") exit 0 ;;
  *"pip install"*) {pip} ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the setup script and a pyproject.toml."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup_env.py", tmp_path / "tools")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "tiny"\n')
    return tmp_path


def stand_in(project, pip):
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(STAND_IN.format(folder=project, pip=pip))
    python.chmod(0o755)


def set_up(project, *extras):
    command = [sys.executable, project / "tools" / "setup_env.py", *extras]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def installations(project):
    calls = project / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.rpartition(" ")[2] for line in lines if "pip install" in line]


def state(project):
    return json.loads((project / ".venv" / "minimm.json").read_text())


@posix_only
def test_complete_environment_is_left_alone(project):
    stand_in(project, pip="exit 0")
    assert set_up(project).returncode == 0
    assert set_up(project).returncode == 0
    assert installations(project) == ["."]


@posix_only
def test_extra_is_added_to_those_that_are_there(project):
    stand_in(project, pip="exit 0")
    set_up(project, "test")
    set_up(project, "bench")
    set_up(project, "test")
    set_up(project)
    assert installations(project) == [".[test]", ".[bench,test]"]
    assert state(project)["extras"] == ["bench", "test"]


@posix_only
def test_changed_pyproject_is_installed_again_with_its_extras(project):
    stand_in(project, pip="exit 0")
    set_up(project, "test")
    (project / "pyproject.toml").write_text('[project]\nname = "tiny"\ndependencies = ["torch>=2.5"]\n')
    set_up(project)
    assert installations(project) == [".[test]", ".[test]"]


@pytest.mark.parametrize(
    "pip_says, line_says",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("WARNING: Retrying: NewConnectionError: Temporary failure in name resolution\n"
         "ERROR: No matching distribution found for setuptools>=77", "network connection"),
        ("WARNING: SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))\n"
         "ERROR: No matching distribution found for torch", "PIP_CERT"),
        ("ERROR: No matching distribution found for torch>=2.4", "no torch>=2.4 for Python 3.10"),
        ("Traceback (most recent call last):\nPermissionError: [Errno 13] Permission denied: 'x'", "Permission denied"),
        ("", "no reason given"),
    ],
)  # fmt: skip
@posix_only
def test_failing_pip_gives_one_line_and_the_next_run_repairs(project, pip_says, line_says):
    (project / "said").write_text(pip_says)
    stand_in(project, pip=f"cat '{project}/said'; exit 1")
    ran = set_up(project)
    assert ran.returncode != 0
    assert one_line(ran.stderr) and line_says in ran.stderr and "build/install.log" in ran.stderr
    assert (project / "build" / "install.log").read_text() == pip_says
    stand_in(project, pip="exit 0")
    assert set_up(project).returncode == 0
    assert state(project)["state"] == "complete"


@posix_only
def test_failing_download_of_an_extra_leaves_the_environment_complete(project):
    stand_in(project, pip="exit 0")
    set_up(project)
    stand_in(project, pip="echo 'ERROR: Connection refused'; exit 1")
    assert set_up(project, "test").returncode != 0
    assert set_up(project).returncode == 0


@posix_only
def test_environment_moved_with_its_folder_is_not_taken_for_complete(project):
    stand_in(project, pip="exit 0")
    set_up(project)
    moved = project / "moved"
    moved.mkdir()
    for name in ["tools", "pyproject.toml", ".venv"]:
        shutil.move(project / name, moved / name)
    assert not asks(moved, "is_complete([])") and not asks(moved, "is_usable()")


@posix_only
@pytest.mark.parametrize("breakage", ["cut off while installing", "state cut short", "no Python", "no pip", "other Python"])
def test_half_made_environment_is_not_installed_into(project, breakage):
    stand_in(project, pip="exit 0")
    set_up(project)
    assert asks(project, "is_complete([])") and asks(project, "is_usable()")
    venv = project / ".venv"
    python, written = venv / "bin" / "python", venv / "minimm.json"
    if breakage == "cut off while installing":
        stand_in(project, pip="echo 'Installing collected packages: torch'; sleep 0.5; exit 1")
        set_up(project, "test")
    elif breakage == "state cut short":
        written.write_text(written.read_text()[:40])
    elif breakage == "no Python":
        python.unlink()
        python.symlink_to("/nonexistent/python3.12")
    elif breakage == "no pip":
        written.unlink()
        python.write_text(python.read_text().replace("exit 0", "exit 1", 1))
    elif breakage == "other Python":
        python.write_text(python.read_text().replace("3.10", "3.11"))
    assert not asks(project, "is_complete([])") and not asks(project, "is_usable()")


def asks(project, question):
    code = f"import sys; sys.path.insert(0, 'tools'); import setup_env; print(setup_env.{question})"
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True).stdout == "True\n"


def test_unknown_extra(project):
    ran = set_up(project, "tests")
    assert ran.returncode != 0
    assert one_line(ran.stderr) and "tests" in ran.stderr and "bench" in ran.stderr


# ---- notebooks as tests and as pages


def write_notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)


def test_make_test_prints_the_time_of_each_notebook_before_the_verdict(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    for name in ["conftest.py", "nbval-sanitize.cfg"]:
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    write_notebook(tmp_path / "notebooks" / "00-good.ipynb", nbformat.v4.new_code_cell("import time; time.sleep(0.5)"))
    write_notebook(tmp_path / "notebooks" / "01-bad.ipynb", nbformat.v4.new_code_cell("1 / 0"))
    ran = subprocess.run([sys.executable, "-m", "pytest"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    *before, verdict = ran.stdout.strip().splitlines()
    times = {line.split()[-1]: float(line.split()[0]) for line in before if re.match(r" +[0-9.]+ s  ", line)}
    assert set(times) == {"notebooks/00-good.ipynb", "notebooks/01-bad.ipynb"}
    assert times["notebooks/00-good.ipynb"] >= 0.5
    assert "1 failed" in verdict and "1 passed" in verdict


@pytest.fixture
def build_course(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("build_course")


def test_course_pages(tmp_path, build_course, capfd):
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    folder, pages = tmp_path / "notebooks", tmp_path / "build" / "course"
    widget = "import ipywidgets as w\nw.interact(lambda t: print('t is', t), t=w.FloatSlider(0.25, description='speed'));"
    link = "See [the next](b.ipynb#end) and [another's](https://example.org/c.ipynb)."
    write_notebook(folder / "a.ipynb", markdown(f"# The *first*\n\n{link}\n\nMore."), code(widget))
    hint = "<details><summary>Hint</summary>\n\nLook *down*.\n\n</details>\n\nOn."
    formulas = "Half, $\\frac{1}{b}$ & `$x$`:\n\n$$\\bigl\\lVert x \\bigr\\rVert < \\arg\\max_c \\mathcal{L}$$"
    bar = "print(6 * 7, end='\\r')\nprint(6 * 9)"
    write_notebook(folder / "b.ipynb", markdown("# Second"), code(bar), markdown(formulas), markdown(hint))
    write_notebook(folder / "solutions" / "a.ipynb", markdown("# Solutions"))
    before = (folder / "a.ipynb").read_bytes()
    build_course.main(folder, pages)

    said = capfd.readouterr()
    assert said.err == "" and "arning" not in said.out
    contents = (pages / "index.html").read_text(encoding="utf-8")
    order = re.findall(r'<li><a href="(.+?)">(.+?)</a>', contents)
    assert order == [("a.html", "The first"), ("b.html", "Second"), ("solutions/a.html", "Solutions")]
    assert "See <a" in contents and "More." not in contents
    first = (pages / "a.html").read_text(encoding="utf-8")
    assert 'href="b.html#end"' in first and 'href="https://example.org/c.ipynb"' in first
    assert "speed 0.25" in first and "t is 0.25" in first
    second = (pages / "b.html").read_text(encoding="utf-8")
    assert "54" in second and not re.search(r"<pre>42", second), "an earlier state of a line that overwrites itself"
    assert second.count("<math") == 2 and "<mfrac>" in second and 'display="block"' in second
    assert "&amp; <code>$x$</code>" in second and not re.search(r"\\[a-z]*(frac|lVert|arg|mathcal)", second)
    assert re.search(r"<details><summary>Hint</summary>\s*<p>Look <em>down</em>.</p>\s*</details>\s*<p>On.", second)
    assert "prefers-color-scheme: dark" in second and "prefers-color-scheme: dark" in contents
    assert not re.search(r'(src|href)="https?:', second), "a page that needs the network"
    assert (folder / "a.ipynb").read_bytes() == before


def test_course_does_not_speak_to_a_kernel_that_it_waits_for(tmp_path, build_course):
    """What an Output shows stays out of the kernel (telling it could stop the run for ever) and stands on the page."""
    code = nbformat.v4.new_code_cell
    write_notebook(tmp_path / "notebooks" / "a.ipynb", code("import ipywidgets\nout = ipywidgets.Output()\nout"),
                   code("with out:\n    print('six', 6)"), code("print('told', len(out.outputs))"))
    build_course.main(tmp_path / "notebooks", tmp_path / "course")
    page = (tmp_path / "course" / "a.html").read_text(encoding="utf-8")
    assert "six 6" in page and "told 0" in page


def test_course_keeps_its_old_pages_when_a_notebook_fails(tmp_path, build_course):
    write_notebook(tmp_path / "notebooks" / "a.ipynb", nbformat.v4.new_code_cell("1 / 0"))
    old = tmp_path / "course" / "index.html"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(SystemExit, match="a.ipynb stopped with ZeroDivisionError"):
        build_course.main(tmp_path / "notebooks", tmp_path / "course")
    assert old.read_text() == "old"


def test_course_tells_what_a_dying_kernel_said(tmp_path, build_course, capfd):
    dies = "get_ipython().kernel.log.error('no room left')\nimport os\nos._exit(1)"
    write_notebook(tmp_path / "notebooks" / "a.ipynb", nbformat.v4.new_code_cell(dies))
    with pytest.raises(SystemExit, match="a.ipynb stopped with Kernel died"):
        build_course.main(tmp_path / "notebooks", tmp_path / "course")
    assert "no room left" in capfd.readouterr().err


# ---- a real installation of a tiny package, without the network

BACKEND = """
import base64, hashlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = "tiny-1.dist-info/"
    files = {
        "tiny.py": "",
        info + "METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nProvides-Extra: test\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    rows = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[info + "RECORD"] = "\\n".join([*rows, info + "RECORD,,"]) + "\\n"
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "tiny-1-py3-none-any.whl"

build_editable = build_wheel
"""


@pytest.mark.slow
def test_real_environment_is_made_and_rebuilt(project):
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny"\nversion = "1"\n[project.optional-dependencies]\ntest = []\n'
    )
    ran = set_up(project, "test")
    assert ran.returncode == 0, ran.stderr
    python = project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    imports = [python, "-c", "import tiny"]
    assert subprocess.run(imports).returncode == 0

    log = (project / "build" / "install.log").stat().st_mtime_ns
    assert set_up(project, "test").stdout == ""  # at once, without pip
    assert (project / "build" / "install.log").stat().st_mtime_ns == log

    # What a run that is killed while pip installs leaves behind.
    (project / ".venv" / "minimm.json").write_text('{"state": "installing"}')
    leftover = project / ".venv" / "half-written"
    leftover.touch()
    assert set_up(project).returncode == 0
    assert subprocess.run(imports).returncode == 0
    assert not leftover.exists()
    assert state(project)["state"] == "complete"
