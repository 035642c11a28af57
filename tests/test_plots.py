"""Figures say in words what they show, and files are whole or absent."""

import pytest

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


def test_live_curve_replaces_itself_and_draws_the_end(shown):
    curve, run = plots.LiveCurve(every=1000, chance=2.0), Run(planned=5)
    for step in range(1, 6):
        run.steps, run.losses = step, {"contrastive": [1.0 / k for k in range(1, step + 1)]}
        curve(run)
    assert len(shown) == 1 and "5 of 5 steps; now contrastive 0.20" in shown[0]


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fails(file):
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(OSError):
        write_whole(path, fails)
    assert path.read_bytes() == b"old" and [p.name for p in path.parent.iterdir()] == ["file"]
