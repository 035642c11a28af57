"""NLVR: a tiny made corpus of the published layout always, the real one where MINIMM_NLVR names its folder."""

import http.server
import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from minimm._download import source
from minimm.corpora import nlvr

real = pytest.mark.skipif("MINIMM_NLVR" not in os.environ, reason="MINIMM_NLVR names no folder with the real corpus")


def make_split(folder, split="dev", directories=3, presentations=2):
    """Two examples a presentation; red counts the examples, green the permutations."""
    rows = []
    for directory in range(directories):
        images = folder / split / "images" / str(directory)
        images.mkdir(parents=True)
        for presentation in range(presentations):
            for position in range(2):
                identifier = f"{10 * directory + presentation}-{position}"
                for k in range(6):
                    Image.new("RGBA", (40, 10), (len(rows), k, 200, 255)).save(images / f"{split}-{identifier}-{k}.png")
                rows.append({"sentence": f"There is no box {len(rows)}", "label": ["true", "false"][position],
                             "identifier": identifier, "directory": str(directory), "evals": {}, "structured_rep": []})
    # The published files have no line end after the last line.
    (folder / split / f"{split}.json").write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture
def corpus(tmp_path):
    make_split(tmp_path / "nlvr")
    return tmp_path / "nlvr"


@pytest.fixture
def published(tmp_path):
    """An archive as the repository gives it out, with other things in it."""
    made = tmp_path / "made"
    for split in ("dev", "test"):
        make_split(made, split)
        (made / split / "page.py").write_text("print()")
    return zip_of(made, tmp_path / "published.zip")


def zip_of(made, file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("nlvr-1892/nlvr2/dev/dev.json", "{}")
        for path in sorted(made.rglob("*")):
            archive.write(path, f"nlvr-1892/nlvr/{path.relative_to(made).as_posix()}")
    return file


def lines(corpus):
    return (corpus / "dev" / "dev.json").read_text().splitlines()


def write(corpus, lines):
    (corpus / "dev" / "dev.json").write_text("\n".join(lines))


# Reading


def test_reads_the_published_layout(corpus):
    examples = nlvr.load(corpus, "dev")
    assert len(examples) == 12
    third = examples[2]
    assert (third.sentence, third.label, third.identifier, third.directory) == ("There is no box 2", True, "1-0", "0")
    assert examples[3].label is False
    assert third.pictures == tuple(corpus / "dev" / "images" / "0" / f"dev-1-0-{k}.png" for k in range(6))


def test_looks_where_the_variable_says_then_in_the_cache(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIMM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINIMM_NLVR", str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError) as error:
        nlvr.load()
    for part in ("elsewhere", str(tmp_path / "cache" / "nlvr"), "download()", "github.com/lil-lab/nlvr"):
        assert part in str(error.value)

    make_split(tmp_path / "cache" / "nlvr", "test", directories=1)
    make_split(tmp_path / "cache" / "nlvr", "dev", directories=1)
    assert len(nlvr.load()) == len(nlvr.load(split="test")) == 4
    monkeypatch.setenv("MINIMM_NLVR", str(corpus))
    assert nlvr.load()[0].pictures[0].is_relative_to(corpus)
    assert len(nlvr.load(split="test")) == 4  # not in the variable's folder, but in the cache


def test_wrong_split_lists_those_found(corpus):
    make_split(corpus, "test", directories=1)
    with pytest.raises(ValueError, match=r"split: .*dev, test.*got 'val'"):
        nlvr.load(corpus, "val")


@pytest.mark.parametrize("damage, error, says", [
    (lambda line: line[:40], ValueError, "not JSON"),
    (lambda line: "[1, 2]", ValueError, "a JSON object"),
    (lambda line: line.replace('"true"', '"perhaps"'), ValueError, "label: expected \"true\" or \"false\".*'perhaps'"),
    (lambda line: line.replace('"label"', '"answer"'), ValueError, "the key 'label'"),
    (lambda line: line.replace('"There is no box 2"', "7"), ValueError, "sentence: expected a text, but got 7"),
    (lambda line: line.replace('"1-0"', '"99-0"'), FileNotFoundError, "missing"),
    (lambda line: line.replace('"directory": "0"', '"directory": "77"'), FileNotFoundError, "missing"),
])
def test_a_damaged_line_is_named(corpus, damage, error, says):
    whole = lines(corpus)
    write(corpus, whole[:2] + [damage(whole[2])] + whole[3:])
    assert lines(corpus) != whole
    with pytest.raises(error, match=rf"dev\.json, line 3\b.*{says}"):
        nlvr.load(corpus)


def test_an_empty_file_is_named(corpus):
    write(corpus, [])
    with pytest.raises(ValueError, match=r"dev\.json: .*empty"):
        nlvr.load(corpus)


def test_a_missing_picture_is_named_before_anything_is_read(corpus):
    (corpus / "dev" / "images" / "2" / "dev-21-1-5.png").unlink()
    with pytest.raises(FileNotFoundError, match="dev-21-1-5.png"):
        nlvr.load(corpus)


def test_a_damaged_picture_is_named(corpus):
    examples = nlvr.load(corpus)
    file = examples[1].pictures[0]
    whole = file.read_bytes()
    end = len(whole) - 12  # PNG's end mark, 12 bytes that hold no picture
    cut = [whole[:length] for length in range(end)]
    changed = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:] for at in range(end)]
    for content in cut + changed:
        file.write_bytes(content)
        with pytest.raises(ValueError, match=file.name):
            next(nlvr.batches(examples, 4))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.name):
        next(nlvr.batches(examples, 4))


# Folds


def test_folds_share_no_directory_and_hold_out_each_example_once(corpus):
    examples = nlvr.load(corpus)
    for k in (2, 3):
        parts = nlvr.folds(examples, k, seed=5)
        assert len(parts) == k
        assert sorted(e.identifier for _, held in parts for e in held) == sorted(e.identifier for e in examples)
        for train, held in parts:
            assert len(train) + len(held) == len(examples) and held
            assert not {e.directory for e in train} & {e.directory for e in held}


def test_folds_depend_on_the_seed_only(corpus):
    examples = nlvr.load(corpus)
    orders = [[held[0].directory for _, held in nlvr.folds(examples, 3, seed)] for seed in range(8)]
    assert orders[0] == ["2", "1", "0"]  # the same on every machine and in every version
    assert len({tuple(order) for order in orders}) > 1
    assert orders[0] == [held[0].directory for _, held in nlvr.folds(examples[::-1], 3, seed=0)]


@pytest.mark.parametrize("k", [1, 4, 2.0])
def test_folds_need_as_many_directories(corpus, k):
    with pytest.raises(ValueError, match="k: .*from 2 to the number of directories, 3"):
        nlvr.folds(nlvr.load(corpus), k)


# Batches


def test_batches_hold_all_examples_in_order(corpus):
    examples = nlvr.load(corpus)
    whole = list(nlvr.batches(examples, 5))
    assert [len(batch["sentences"]) for batch in whole] == [5, 5, 2]
    pictures = torch.cat([batch["pictures"] for batch in whole])
    assert pictures.shape == (12, 3, 10, 40) and pictures.dtype == torch.uint8
    assert pictures[:, 0, 0, 0].tolist() == list(range(12)) and (pictures[:, 2] == 200).all()
    assert [sentence for batch in whole for sentence in batch["sentences"]] == [e.sentence for e in examples]
    labels = torch.cat([batch["labels"] for batch in whole])
    assert labels.dtype == torch.bool and labels.tolist() == [e.label for e in examples]


def test_batches_scale_and_permute(corpus):
    examples = nlvr.load(corpus)

    def orders(**options):
        return torch.cat([batch["pictures"] for batch in nlvr.batches(examples, 5, **options)])[:, 1, 0, 0].tolist()

    assert next(nlvr.batches(examples, 2, image_size=(6, 9)))["pictures"].shape == (2, 3, 6, 9)
    assert orders(permutation=4) == [4] * 12
    drawn = orders(permutation="random", seed=3)
    assert len(set(drawn)) > 2 and drawn == orders(permutation="random", seed=3)
    assert drawn != orders(permutation="random", seed=4)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2.5}, {"image_size": 64}, {"image_size": (0, 5)},
                                     {"permutation": 6}, {"permutation": "all"}, {"examples": []}])
def test_batches_refuse_at_the_call(corpus, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        nlvr.batches(**{"examples": nlvr.load(corpus), "size": 2} | options)


def test_pictures_of_two_sizes_are_named(corpus):
    examples = nlvr.load(corpus)
    Image.new("RGB", (8, 8)).save(examples[3].pictures[0])
    with pytest.raises(ValueError, match=f"{examples[3].pictures[0].name}.*image_size"):
        list(nlvr.batches(examples, 12))
    assert len(list(nlvr.batches(examples, 12, image_size=(10, 40)))) == 1


# Download


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_download_unpacks_only_what_was_asked(published, tmp_path):
    folder = tmp_path / "new" / "nlvr"
    assert nlvr.download(folder, ("test",), published.as_uri()) == folder
    assert names(folder) == ["test"] and names(folder / "test") == ["images", "test.json"]
    assert len(nlvr.load(folder, "test")) == 12
    published.unlink()  # the archive is kept, so the next split needs no second download
    nlvr.download(folder, url=published.as_uri())
    assert names(folder) == ["dev", "test"]
    assert names(folder.parent) == ["nlvr", "nlvr.zip", "nlvr.zip.sha256.json"]
    (folder.parent / "nlvr.zip").unlink()
    nlvr.download(folder, url=published.as_uri())  # all there: nothing to get


def test_another_archive_than_on_first_use_is_refused(published, tmp_path):
    folder, archive = tmp_path / "new" / "nlvr", tmp_path / "new" / "nlvr.zip"
    nlvr.download(folder, ("dev",), published.as_uri())
    first = json.loads((tmp_path / "new" / "nlvr.zip.sha256.json").read_text())["sha256"]
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("nlvr-1892/more", "more")
    with pytest.raises(ValueError, match=rf"nlvr\.zip: .*nlvr\.zip\.sha256\.json recorded {first}"):
        nlvr.download(folder, ("test",), published.as_uri())
    assert names(folder) == ["dev"]


def test_without_a_network_says_which_file_goes_where(published, tmp_path):
    folder, archive = tmp_path / "new" / "nlvr", tmp_path / "new" / "nlvr.zip"
    away = (tmp_path / "away.zip").as_uri()
    with pytest.raises(OSError) as error:
        nlvr.download(folder, url=away)
    assert away in str(error.value) and str(archive) in str(error.value)
    assert names(folder.parent) == []
    shutil.copy(published, archive)
    nlvr.download(folder, url=away)
    assert names(folder) == ["dev", "test"]


@pytest.mark.parametrize("chunked", [True, False], ids=["noticed", "unnoticed"])
def test_an_interrupted_download_leaves_nothing(published, tmp_path, chunked):
    half = published.read_bytes()[:5000]

    class HangsUp(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write((b"%x\r\n" % 9000 if chunked else b"") + half)
            self.close_connection = True

        def log_message(self, *_):
            pass

        protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"

    folder = tmp_path / "new" / "nlvr"
    with http.server.HTTPServer(("127.0.0.1", 0), HangsUp) as server:
        server.timeout = 10
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises((OSError, ValueError), match="nlvr.zip"):
            nlvr.download(folder, url=f"http://127.0.0.1:{server.server_port}/nlvr.zip")
        thread.join()
    assert names(folder.parent) == []
    nlvr.download(folder, url=published.as_uri())
    assert names(folder) == ["dev", "test"]


def test_a_damaged_archive_leaves_no_split(published, tmp_path):
    made, folder = tmp_path / "made", tmp_path / "new" / "nlvr"
    whole = published.read_bytes()
    at = whole.rindex(b"There is no box 11")  # the last split's sentences are stored as they are
    published.write_bytes(whole[:at] + b"X" + whole[at + 1:])
    with pytest.raises(ValueError, match=r"nlvr\.zip: damaged at .*/test\.json"):
        nlvr.download(folder, url=published.as_uri())
    assert names(folder) == [] and names(folder.parent) == ["nlvr", "nlvr.zip"]

    (tmp_path / "new" / "nlvr.zip").unlink()
    (made / "test" / "images" / "0" / "test-0-0-3.png").unlink()
    with pytest.raises(ValueError, match=r"nlvr\.zip: damaged.*test-0-0-3\.png"):
        nlvr.download(folder, url=zip_of(made, published).as_uri())
    assert names(folder) == []


@pytest.mark.parametrize("name", ["nlvr-1892/nlvr/dev/../../../../out.txt", "/out.txt", "..\\out.txt", "C:/out.txt"])
def test_an_archive_with_unsafe_paths_is_refused(published, tmp_path, name):
    with zipfile.ZipFile(published, "a") as archive:
        archive.writestr(name, "out")
    folder = tmp_path / "new" / "nlvr"
    with pytest.raises(ValueError, match="unsafe path"):
        nlvr.download(folder, url=published.as_uri())
    assert names(folder) == [] and not list(tmp_path.rglob("out.txt"))


def test_download_names_wrong_splits(published, tmp_path):
    with pytest.raises(ValueError, match="splits: .*'val'"):
        nlvr.download(tmp_path / "new" / "nlvr", ("val",), published.as_uri())
    with pytest.raises(TypeError, match="splits: .*'dev'"):
        nlvr.download(tmp_path / "new" / "nlvr", "dev", published.as_uri())
    with pytest.raises(ValueError, match="'train'.*dev, test|dev, test.*'train'"):
        nlvr.download(tmp_path / "new" / "nlvr", ("train",), published.as_uri())


def test_the_source_is_the_commit_that_the_card_describes():
    entry = source("nlvr")
    assert entry["commit"] in entry["url"]
    card = Path(__file__).parents[1] / "data" / entry["card"]
    assert entry["commit"] in card.read_text(encoding="utf-8") and entry["licence"] in card.read_text(encoding="utf-8")


# The real corpus


@real
@pytest.mark.parametrize("split, sentences, majority", [("dev", 989, 55.3), ("test", 990, 56.2)])
def test_the_real_corpus_is_as_published(split, sentences, majority):
    examples = nlvr.load(os.environ["MINIMM_NLVR"], split)
    assert len(examples) == len({e.identifier for e in examples}) == sentences
    assert len({picture for e in examples for picture in e.pictures}) == 6 * sentences
    assert 100 * sum(e.label for e in examples) / sentences == pytest.approx(majority, abs=0.05)
    for train, held in nlvr.folds(examples, 5):
        assert not {e.directory for e in train} & {e.directory for e in held}
        # What belongs together: a writer's sentence and its up to four pictures.
        presentations = [{e.identifier.split("-")[0] for e in side} for side in (train, held)]
        assert not presentations[0] & presentations[1]


@real
def test_the_real_pictures_are_three_boxes_in_every_order():
    examples = nlvr.load(os.environ["MINIMM_NLVR"], "dev")[:32]
    orders = ["012", "021", "102", "120", "201", "210"]
    shown = [next(nlvr.batches(examples, 32, permutation=k))["pictures"] for k in range(6)]
    assert shown[0].shape == (32, 3, 100, 400)
    boxes = [pictures.unfold(3, 100, 150).permute(3, 0, 1, 2, 4) for pictures in shown]  # box b c h w
    for order, permuted in zip(orders, boxes):
        for place, box in enumerate(map(int, order)):
            # Each file was drawn anew: the same shapes in the same places, edges a little different.
            assert (permuted[place].float() - boxes[0][box].float()).abs().max() < 20
