"""Make `.venv`, the environment of the course, or bring it up to date.

    python tools/setup_env.py [test] [bench] [pretrained]

installs minimm with all that the course needs, and with the extras named (see pyproject.toml). Linux, macOS, Windows;
needs Python 3.10 or newer and nothing else. When everything is there already it returns at once, without the network.

`.venv/minimm.json` tells the state: written last, it says what was installed; it says "installing" while packages are
being written, and what is found so on the next run is built anew. Whatever goes wrong ends in one line that says what
to do; pip's own words are in build/install.log.
"""

import contextlib
import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STATE = VENV / "minimm.json"
BUILD = ROOT / "build"
LOG = BUILD / "install.log"
EXTRAS = ("test", "bench", "pretrained")

# What pip says when ... (looked for in everything that it printed, the first match counts)
DISK = r"No space left on device|Errno 28\b|[Qq]uota exceeded|WinError 112|not enough space on the disk"
CERTIFICATE = r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError"
NETWORK = (
    r"name resolution|getaddrinfo failed|nodename nor servname|[Nn]etwork is unreachable|No route to host|ProxyError"
    r"|NewConnectionError|Failed to establish|Failed to connect|Connection (refused|reset|aborted|broken)"
    r"|ConnectTimeout|ReadTimeout|[Tt]imed out|Max retries|IncompleteRead|RemoteDisconnected"
)


class SetupError(Exception):
    """What went wrong and what to do about it, in one line."""


def main(wanted):
    unknown = sorted(set(wanted) - set(EXTRAS))
    if unknown:
        raise SetupError(f"no extra is called {', '.join(unknown)}; there are {', '.join(EXTRAS)}.")
    if is_complete(wanted):
        return
    BUILD.mkdir(exist_ok=True)
    with one_at_a_time():
        if is_complete(wanted):  # another run has done it while this one waited
            return
        start = time.monotonic()
        if not is_usable():
            make_venv()
        extras = sorted(set(wanted) | set(read_state().get("extras", [])))
        install(extras)
        minutes, seconds = divmod(round(time.monotonic() - start), 60)
        print(f"minimm: the environment is ready ({minutes} min {seconds} s).", flush=True)


# ---- what is there

def read_state():
    try:
        state = json.loads(STATE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(state):
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    os.replace(new, STATE)


def expected_state(extras):
    # The folder belongs to it: an environment that was moved with its folder still points to the old place.
    pyproject = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return {"state": "complete", "folder": str(ROOT), "pyproject": pyproject, "extras": extras}


def is_complete(wanted):
    """Whether `.venv` holds what pyproject.toml and the wanted extras ask for."""
    state = read_state()
    extras, python = state.get("extras", []), state.pop("python", None)
    return set(wanted) <= set(extras) and state == expected_state(extras) and python == python_version()


def is_usable():
    """Whether `.venv`, complete or not, can be installed into: nobody was killed while writing packages into it."""
    if python_version() is None or subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode:
        return False
    if not STATE.exists():
        return True  # nothing was installed yet, or somebody else made it
    state = read_state()
    return all(
        state.get(key) == value
        for key, value in [("state", "complete"), ("folder", str(ROOT)), ("python", python_version())]
    )


def python_version():
    """Version of the Python in `.venv` ("3.11"), None when there is none that runs and is new enough."""
    code = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))"
    try:
        ran = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


@contextlib.contextmanager
def one_at_a_time():
    """Hold the installation lock, waiting for it if another run has it.

    pip inherits the lock: when only this script is killed, the next run still waits until that pip has gone.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no lock that a child inherits
        yield
        return
    with open(BUILD / "install.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("minimm: another installation is running in this folder; waiting until it ends ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        os.set_inheritable(file.fileno(), True)
        yield


# ---- what is done

def make_venv():
    print(f"minimm: making the environment .venv with Python {sys.version.split()[0]} ...", flush=True)
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    if VENV.exists():
        with contextlib.suppress(FileNotFoundError):
            STATE.unlink()  # first, so that nothing half-deleted looks complete
        shutil.rmtree(VENV)
    # the Python below, when this one belongs to the very .venv that was just deleted
    python = getattr(sys, "_base_executable", sys.executable)
    made = subprocess.run(
        [python, "-m", "venv", str(VENV)], close_fds=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )
    if made.returncode:
        LOG.write_text(made.stdout, encoding="utf-8")
        if "ensurepip is not available" in made.stdout:
            raise SetupError(
                f"{sys.executable} came without its module venv: install it (Debian, Ubuntu: sudo apt install "
                "python3-venv) and run the command again."
            )
        raise SetupError(what_went_wrong(made.stdout))


def install(extras):
    """Install minimm, editable, with its extras into `.venv`."""
    if read_state():
        print("minimm: bringing the environment .venv up to date ...", flush=True)
    else:
        print(
            "minimm: installing what the course needs. The first time takes some minutes: PyTorch is large (Linux: about\n"
            "        3 GB to download and 6 GB on disk; macOS and Windows: well under 1 GB and 2 GB).",
            flush=True,
        )
    # pip unpacks where it then installs, not on a small /tmp, and what a killed run left behind goes away.
    temporary = VENV / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    environment = dict(os.environ, TMPDIR=str(temporary), PYTHONUTF8="1", PIP_USER="0")
    target = f".[{','.join(extras)}]" if extras else "."
    command = [PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    pip = subprocess.Popen(
        [*command, "-e", target], cwd=ROOT, env=environment, close_fds=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
    )
    output = ""
    try:
        with open(LOG, "w", encoding="utf-8", buffering=1) as log:
            for line in follow(pip.stdout):
                output += line
                log.write(line)
                if line.startswith("Installing collected packages"):
                    # Until here pip has only looked and downloaded: if it fails, what was complete still is.
                    write_state({"state": "installing"})
    except BaseException:
        pip.kill()
        raise
    if pip.wait() < 0:
        raise SetupError(
            f"pip was killed (signal {-pip.returncode}), perhaps for want of memory. Close other programs, then run the "
            "command again."
        )
    if pip.returncode:
        raise SetupError(what_went_wrong(output))
    shutil.rmtree(temporary, ignore_errors=True)
    write_state({**expected_state(extras), "python": python_version()})


def follow(stream):
    """Yield the lines of a stream, and show meanwhile that something goes on."""
    lines, start, shown, doing = queue.Queue(), time.monotonic(), 0, ""

    def read():
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    terminal, width = sys.stdout.isatty(), shutil.get_terminal_size().columns - 1
    while True:
        try:
            line = lines.get(timeout=1)
        except queue.Empty:
            pass
        else:
            if line is None:
                break
            yield line
            if re.match(r"\s*(Collecting|Downloading|Using cached|Installing|Building) ", line):
                doing = re.sub(r"^Installing collected packages.*", "Installing the packages", line.strip())
        passed = round(time.monotonic() - start)
        text = f"  {passed // 60}:{passed % 60:02d}  {doing}"
        if terminal:
            print("\r" + text[:width].ljust(width), end="", flush=True)
        elif passed >= shown + 20:  # in a log: a line now and then
            print(text, flush=True)
            shown = passed
    if terminal:
        print("\r" + " " * width + "\r", end="", flush=True)


def what_went_wrong(output):
    """The one line for what pip or venv printed before it failed."""
    again = f"then run the command again (details: {LOG.relative_to(ROOT)})."
    free = shutil.disk_usage(ROOT).free
    if re.search(DISK, output) or free < 100e6:
        return f"the disk is full: {free / 1e9:.1f} GB are free, a first installation needs up to 10 GB. Make room, {again}"
    if re.search(CERTIFICATE, output):
        return (
            "the network's certificate is not trusted, as behind some companies' proxies. Name the company's certificate "
            f"file in the variable PIP_CERT, {again}"
        )
    if re.search(NETWORK, output):
        return f"the packages cannot be downloaded. Check the network connection (and the proxy, if you have one), {again}"
    version = python_version() or "this version"
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        return (
            f"there is no {missing[1]} for Python {version} on this machine. Install another Python (3.10 to 3.13 are "
            f"safe choices), delete .venv, and name it: make lab PYTHON=python3.12 (details: {LOG.relative_to(ROOT)})."
        )
    errors = re.findall(r"(?i)^\s*(?:error:|\w*Error\b:?)\s*(.+)", output, flags=re.MULTILINE) or output.strip().splitlines()
    return f"the installation failed: {errors[-1].strip().rstrip('.') if errors else 'no reason given'}. Mend that, {again}"


if __name__ == "__main__":
    try:
        if sys.version_info < (3, 10):
            raise SetupError(
                f"minimm needs Python 3.10 or newer, this is {sys.version.split()[0]}. Install one from "
                "https://www.python.org/downloads/ and run the command again."
            )
        main(sys.argv[1:])
    except SetupError as error:
        sys.exit(f"minimm: {error}")
    except KeyboardInterrupt:
        sys.exit("\nminimm: stopped. Run the command again to go on.")
    except OSError as error:
        sys.exit(f"minimm: {what_went_wrong(str(error))}")
