"""The page of a look: what is in it, and that it answers in a real browser."""

import base64
import io
import itertools
import json
import re
import shutil
import subprocess
import time
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image

from minimm.explain import Look, save_html
from minimm.models.albef import ALBEF, ALBEFConfig
from minimm.scenes import load, tokenizer
from test_explain import models
from test_heads import picture, texts

NAMES = ("CLIP", "VSE", "ViLBERT", "ViLT", "ALBEF")
#: Of texts(): four words, the first of two pieces, with names that HTML would take for its own.
WORDS, SAID = torch.tensor([[-1, 0, 0, 1, 2, -1]]), ("<b>", "a</script>", "\"&'@data@")


def seen(name):
    return {key: t[:1] for key, t in picture(name).items()}


def saved(path, name, **options):
    """What is in the page of one of the five, small ones."""
    options = {"shown": Image.new("RGB", (16, 16), "red") if name == "ViLBERT" else None, **options}
    save_html(path, models()[name], seen(name), texts()[:1], WORDS, SAID, **options)
    return path.read_text(encoding="utf-8")


def data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.parametrize("target", (None, "word"))
@pytest.mark.parametrize("name", NAMES)
def test_every_map_is_in_it(tmp_path, name, target):
    found = data(saved(tmp_path / "map.html", name, target=target))
    look = Look(models()[name], seen(name), texts()[:1], WORDS, target)
    assert [m["name"] for m in found["methods"]] == list(look.methods) and found["words"] == list(SAID)
    number, several = 0, 0
    for method in found["methods"]:
        of_layers = method["name"] in ("attention", "gradient", "grad-cam")
        names = look.layers(method["name"]) if of_layers else ("all",)
        assert [layer["name"] for layer in method["layers"]] == list(names)
        assert names[method["usual"]] == (look.usual_layer(method["name"]) if of_layers else "all")
        for layer in method["layers"]:
            at = layer["name"] if of_layers else None
            heads = 1 + look.weights[at].shape[1] if of_layers and name != "VSE" else 1
            assert len(layer["heads"]) == heads
            for head, map in enumerate(layer["heads"]):
                expected = look.maps(method["name"], at, head - 1 if head else None).values[0, [1, 3, 4]].flatten(1)
                steps = torch.tensor(np.frombuffer(base64.b64decode(map["steps"]), np.uint8)).view(-1, expected.shape[1])
                low, high = map["low"], map["high"]
                assert high == (expected.abs().max() or 1) and low == (-high if (expected < 0).any() else 0)
                came = (low + steps / 254 * (high - low)).expand_as(expected)
                torch.testing.assert_close(came, expected, rtol=0, atol=max((high - low) / 255, 1e-12))
                number, several = number + 1, several + (len(steps) == 3)
    assert number >= 1 and (several or (name in ("CLIP", "VSE") and target is None))


@pytest.mark.parametrize("name", NAMES)
def test_places(tmp_path, name):
    """Those of a grid tile the picture, regions have their boxes; and both are where `Maps.pixels` paints them."""
    found = data(saved(tmp_path / "map.html", name))
    maps = Look(models()[name], seen(name), texts()[:1], WORDS).maps()
    x0, y0, x1, y1 = torch.tensor([place[1:] for place in found["places"]]).T * 16
    assert len(x0) == maps.values[0, 0].numel() and found["columns"] == (1 if name == "ViLBERT" else 2)
    if name == "ViLBERT":
        torch.testing.assert_close(torch.stack([x0, y0, x1, y1], 1), maps.boxes[0])
        return
    assert ((x1 - x0) * (y1 - y0)).sum() == 16 * 16 and found["places"][1][0] == "row 1, column 2"
    numbered = maps._replace(values=torch.arange(4.).view(1, 1, 2, 2)).pixels(16, 16)[0, 0]
    for i, (left, top, right, bottom) in enumerate(zip(*(t.round().int().tolist() for t in (x0, y0, x1, y1)))):
        assert (numbered[top:bottom, left:right] == i).all()


def test_nan_is_refused(tmp_path):
    broken = {"images": torch.full((1, 3, 16, 16), torch.nan)}
    with pytest.raises(ValueError):
        save_html(tmp_path / "map.html", models()["ALBEF"], broken, texts()[:1], WORDS, SAID)
    assert list(tmp_path.iterdir()) == []


def test_masked_regions_are_left_out(tmp_path):
    seen_some = {**seen("ViLBERT"), "region_mask": torch.tensor([[True, False, True, True]])}
    save_html(tmp_path / "map.html", models()["ViLBERT"], seen_some, texts()[:1], WORDS, SAID, methods=["attention"],
              shown=Image.new("RGB", (16, 16)))
    found = data((tmp_path / "map.html").read_text(encoding="utf-8"))
    assert [place[0] for place in found["places"]] == ["region 1", "region 3", "region 4"]
    assert len(base64.b64decode(found["methods"][0]["layers"][0]["heads"][0]["steps"])) == 3 * 3


def test_self_contained_and_escaped(tmp_path):
    page = saved(tmp_path / "map.html", "ALBEF", alt='"><i>')
    assert "http" not in page and "//" not in re.sub(r"base64,\S+|(?m:// .*$)|\"steps\": \"\S+|\"colours\": [^]]+", "", page)
    assert "<b>" not in page and "<i>" not in page and page.count("</script>") == 2
    assert "Where ALBEF looks: &lt;b&gt; a&lt;/script&gt; &quot;&amp;&#x27;@data@</title>" in page


def test_course_size(tmp_path):
    """A whole course-size model and a scene, sentence as text: below 3 MB, the picture as the scene is."""
    torch.manual_seed(0)
    some = load("test", 1)
    text = some.captions[0][0].text
    save_html(tmp_path / "map.html", ALBEF(ALBEFConfig(vocab=len(tokenizer))), some.see([0]), text)
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert len(page) < 3e6 and " ".join(data(page)["words"]) == tokenizer.decode(tokenizer([text])[0])
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"png;base64,([^\"]+)", page)[1])))
    assert torch.from_numpy(np.array(picture)).permute(2, 0, 1).equal(some.pictures[0])


@pytest.mark.parametrize("change, match", [
    ({"methods": []}, "methods"), ({"methods": "attention"}, "methods"), ({"methods": ["transport"]}, "method"),
    ({"names": ["one"]}, "names: .* 1 for 3"), ({"names": None}, "names"), ({"sentence": texts()}, "sentence: .*3, 6"),
    ({"sentence": 3}, "sentence"), ({"words": WORDS[:, :3]}, "words"), ({"target": "words"}, "target"),
    ({"picture": {"regions": torch.zeros(1, 4, 6)}}, "shown"), ({"words": torch.full((1, 6), -1), "names": []}, "names")])
def test_bad_input(tmp_path, change, match):
    given = {"picture": seen("ALBEF"), "sentence": texts()[:1], "words": WORDS, "names": SAID, **change}
    with pytest.raises(ValueError, match=match):
        save_html(tmp_path / "map.html", models()["ALBEF"], **given)
    assert list(tmp_path.iterdir()) == []


# ---- in a real browser


class Browser:
    """A headless Chromium with one page: scripts are run in it; the mouse and the keys are those of the browser."""

    def __init__(self, folder, url):
        websocket = pytest.importorskip("websocket")
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
        if program is None:
            pytest.skip("no Chromium is installed")
        self.numbers, port_file = itertools.count(), folder / "DevToolsActivePort"
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run",
             f"--user-data-dir={folder}", "--window-size=1000,900", url], stderr=subprocess.DEVNULL)
        self.socket = None
        end = time.monotonic() + 120
        while self.socket is None and time.monotonic() < end and self.process.poll() is None:
            try:
                port = port_file.read_text().split()[0]
                targets = json.load(urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10))
                address = next(target["webSocketDebuggerUrl"] for target in targets if target["url"] == url)
                self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
            except (OSError, StopIteration, IndexError):
                time.sleep(0.1)
        assert self.socket is not None, "Chromium did not start"
        while not self.run(f"document.readyState === 'complete' && location.href === {json.dumps(url)}"):
            assert time.monotonic() < end, "the page did not load"
            time.sleep(0.1)

    def __call__(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        answers = (json.loads(self.socket.recv()) for _ in itertools.count())
        return next(answer for answer in answers if answer.get("id") == number)["result"]

    def run(self, script):
        answer = self("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def mouse(self, selector, *kinds):
        box = self.run(f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                       " return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in kinds:
            self("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left" if kind != "mouseMoved" else "none",
                 clickCount=1)

    def click(self, selector):
        self.mouse(selector, "mouseMoved", "mousePressed", "mouseReleased")

    def key(self, key, text=""):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, **({"text": text} if text and kind == "keyDown" else {}),
                 windowsVirtualKeyCode={"ArrowRight": 39, "ArrowDown": 40, "Enter": 13}[key])

    def screenshot(self, path, theme):
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def browser(tmp_path):
    opened = []

    def open_page(path):
        opened.append(Browser(tmp_path / "profile", path.as_uri()))
        return opened[0]
    (tmp_path / "profile").mkdir()
    yield open_page
    for one in opened:
        one.close()


OVERLAY = "document.getElementById('overlay').toDataURL()"
SHADES = "words.map(button => button.style.background)"
SAYS = "document.getElementById('said').textContent"


@pytest.mark.browser
def test_in_a_browser(tmp_path, browser):
    saved(tmp_path / "map.html", "ALBEF")
    page = browser(tmp_path / "map.html")
    assert page.run("words.map(button => button.firstChild.textContent)") == list(SAID)

    # A word: another overlay, which stays.
    first = page.run(OVERLAY)
    page.mouse("#words button:nth-child(3)", "mouseMoved")
    third = page.run(OVERLAY)
    page.mouse("h1", "mouseMoved")
    assert page.run(OVERLAY) == first != third
    page.click("#words button:nth-child(3)")
    page.mouse("h1", "mouseMoved")
    assert page.run(OVERLAY) == third and SAID[2] in page.run(SAYS)
    assert page.run("words.map(button => button.getAttribute('aria-pressed'))") == ["false", "false", "true"]

    # A place: every word in the colour that the table has for its value there.
    assert page.run(SHADES) == ["", "", ""]
    page.click("#places button:nth-child(2)")
    page.mouse("h1", "mouseMoved")
    found = data((tmp_path / "map.html").read_text(encoding="utf-8"))
    steps = np.frombuffer(base64.b64decode(found["methods"][0]["layers"][0]["heads"][0]["steps"]), np.uint8).reshape(3, 4)
    colours = np.frombuffer(base64.b64decode(found["colours"][0]), np.uint8).reshape(255, 3)
    assert page.run(SHADES) == [f"rgb({r}, {g}, {b})" for r, g, b in colours[steps[:, 1]]]
    assert "row 1, column 2" in page.run(SAYS)
    told = page.run("words.map(button => Number(button.lastChild.textContent))")
    high = found["methods"][0]["layers"][0]["heads"][0]["high"]
    np.testing.assert_allclose(told, high * steps[:, 1] / 254, atol=high / 255)

    # Controls: whatever is chosen is another map, and the scale tells its numbers.
    for control, value in (("head", 1), ("method", 2)):
        before = page.run(OVERLAY), page.run("document.getElementById('ticks').textContent")
        page.run(f"{{ const s = document.getElementById('{control}'); s.value = {value};"
                 " s.dispatchEvent(new Event('change')); }")
        after = page.run(OVERLAY), page.run("document.getElementById('ticks').textContent")
        assert all(a != b for a, b in zip(after, before))
    page.run("{ const o = document.getElementById('opacity'); o.value = 30; o.dispatchEvent(new Event('input')); }")
    assert page.run("document.getElementById('overlay').style.opacity") == "0.3"

    # The keyboard alone.
    page.run("places[1].focus()")
    page.key("ArrowDown")
    assert page.run("document.activeElement.getAttribute('aria-label')") == "row 2, column 2"
    page.key("Enter", "\r")
    assert page.run("places.map(button => button.getAttribute('aria-pressed'))") == ["false"] * 3 + ["true"]
    assert page.run("places.filter(button => button.tabIndex === 0).length") == 1

    # Every control has a name; nothing was fetched; both themes differ.
    assert page.run("[...document.querySelectorAll('select, input')].every(e => e.labels.length === 1)")
    assert page.run("performance.getEntriesByType('resource').every(e => e.name.startsWith('data:'))")
    for theme in ("light", "dark"):
        page.screenshot(tmp_path / f"{theme}.png", theme)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
