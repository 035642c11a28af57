"""Figures say in words what they show, and files are whole or absent."""

import io

import numpy as np
import pytest
from PIL import Image

from minimm import plots, scenes
from minimm._paths import write_whole
from minimm.training import Run


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as HTML texts; a handle replaces its own."""
    pages = []

    class Handle:
        def update(self, content):
            pages[-1] = content.data

    def display(content, display_id=False):
        pages.append(content.data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return pages


def test_alternative_text_is_escaped(shown):
    fig, ax = plots.figure()
    ax.plot([1, 2])
    plots.show(fig, 'a "quoted" <line>')
    assert 'alt="a &quot;quoted&quot; &lt;line&gt;"' in shown[0] and "base64" in shown[0]


def test_gallery_says_what_it_shows(shown):
    data = scenes.load("test", 3)
    scenes.show(data)
    assert data.captions[2][0].text in shown[0]
    scenes.show(data.scenes, boxes=True, masks=True, titles=["a", "b", "c"])
    assert data.scenes[1].things[0].icon in shown[1]


def test_gallery_rows_leave_room_for_the_longest_caption(monkeypatch):
    sizes = []
    monkeypatch.setattr(plots, "show", lambda picture, alt, width: sizes.append(picture.size))
    data = scenes.load("test", 4)
    for captions in ([""] * 4, ["short"] * 4, ["a caption that needs more than one line below its picture"] * 4):
        scenes.show(data, captions, columns=2)
    widths, heights = zip(*sizes)
    assert len(set(widths)) == 1 and heights[0] < heights[1] < heights[2]


def a_moving_line(start):
    fig, ax = plots.figure(1, 1)
    ax.set(xlim=(0, 1), ylim=(0, 9))
    line, = ax.plot([0, 1], [start, start])
    title = fig.suptitle(f"at {start}")

    def update(y):
        line.set_ydata([y, y])
        title.set_text(f"at {y}")
        return f"A line at {y}."
    return plots.Moving(fig, [line, title], update)


def test_a_move_leaves_nothing_behind():
    view = a_moving_line(2)
    pictures = [view.draw(y=y)[0].tobytes() for y in (2, 7, 2)]
    assert pictures[0] == pictures[2] != pictures[1]
    assert pictures[1] == a_moving_line(7).draw(y=7)[0].tobytes(), "as if the figure had been built for this value"


def test_moving_figure_follows_its_controls(shown):
    import ipywidgets

    slider = ipywidgets.IntSlider(min=0, max=9, value=3)
    a_moving_line(2).follow(y=slider)
    assert "A line at 3." in shown[-1]
    slider.value = 5
    assert "A line at 5." in shown[-1] and len(shown) == 2


def test_live_curve_replaces_itself_and_draws_the_end(shown):
    curve, run = plots.LiveCurve(every=1000, chance=2.0), Run(planned=5)
    for step in range(1, 6):
        run.steps, run.losses = step, {"contrastive": [1.0 / k for k in range(1, step + 1)]}
        curve(run)
    assert len(shown) == 1 and "5 of 5 steps; now contrastive 0.20" in shown[0]


@pytest.mark.parametrize("options, words", [({}, ("chance", "loss (nats)")),
                                            ({"called": "collapsed", "unit": ""}, ("collapsed", "loss"))])
def test_live_curve_names_its_line_and_its_unit(shown, monkeypatch, options, words):
    drawn = []
    monkeypatch.setattr(plots, "image", lambda fig, alt: drawn.append(fig) or alt)
    plots.LiveCurve(chance=2.0, **options)(Run(planned=5, steps=1, losses={"hinges": [1.0]}))
    ax, = drawn[0].axes
    assert (ax.get_legend_handles_labels()[1][1], ax.get_ylabel()) == words


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fails(file):
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(OSError):
        write_whole(path, fails)
    assert path.read_bytes() == b"old" and [p.name for p in path.parent.iterdir()] == ["file"]


def test_fewer_levels_look_the_same():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 8, 3)))
    few = np.asarray(Image.open(io.BytesIO(plots.png(ramp, levels=32))))
    assert len(np.unique(few)) == 32 and (few.min(), few.max()) == (0, 255)  # black stays black, white white
    assert np.abs(few.astype(int) - np.asarray(ramp)).max() <= 4
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plots.png(ramp)))), np.asarray(ramp))
    fig, ax = plots.figure()
    noise = np.random.default_rng(0).normal(size=(40, 40, 3))
    ax.imshow(np.clip(0.5 + 0.02 * noise, 0, 1))
    assert len(plots.png(fig, levels=32)) < 0.7 * len(plots.png(fig))
