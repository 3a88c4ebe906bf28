import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from folds.audit.embedding import MOST, image_map
from folds.audit.figures import colour_figure, map_figure, palette
from folds.audit.galleries import junk_gallery
from folds.audit.report import write_report
from folds.audit.statistics import sizes, statistics
from folds.audit.suspects import find_suspects, read_predictions
from folds.config import DataConfig
from folds.images import load
from tests.folds.audit.planted import brute_force, planted, save_opinions


@pytest.fixture(scope="module")
def images():
    return planted()


@pytest.fixture(scope="module")
def findings(images):
    return brute_force(images)


@pytest.fixture(scope="module")
def page(images, findings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    suspects = find_suspects(
        read_predictions(save_opinions(folder / "oof.npz", images, flipped=[5, 9]))
    )
    path = folder / "report.html"
    write_report(path, ["cells & more"], images, findings, sizes(DataConfig(), images), suspects)
    return path


class Reader(HTMLParser):
    """What a page asks for, and its tiles by section."""

    def __init__(self, text):
        super().__init__()
        self.section, self.tiles, self.asked, self.tags = "", {}, [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        if tag == "section":
            self.section = values.get("id", "")
        if tag == "figure" and values.get("class") == "tile":
            self.tiles[self.section] = self.tiles.get(self.section, 0) + 1
        wanted = ("src", "href", "xlink:href", "data", "srcset", "poster")
        self.asked += [values[name] for name in wanted if name in values]


class TestPage:
    def test_every_section_has_its_pictures(self, page):
        assert Reader(page.read_text(encoding="utf-8")).tiles == {
            "conflicts": 3, "suspects": 2, "junk": 2, "duplicates": 4, "means": 3,
        }  # fmt: skip

    def test_it_loads_nothing(self, page):
        text = page.read_text(encoding="utf-8")
        found = Reader(text)
        assert len(found.asked) > 10
        assert all(value.startswith(("data:image/", "#")) for value in found.asked)
        assert not found.tags & {"link", "iframe", "object", "image_map"}
        assert all(u.startswith(("#", "'#")) for u in re.findall(r"url\(([^)]*)", text))
        spaces = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
        assert set(re.findall(r"https?://[^\s\"'<>]*", text)) <= set(spaces)

    def test_it_says_what_was_found(self, page):
        text = page.read_text(encoding="utf-8")
        assert "5 times" in text
        assert "black and white" in text
        assert "--audit drop" in text
        assert "cells &amp; more" in text
        assert "bee <&>" not in text

    def test_the_same_findings_make_the_same_page(self, page, images, findings, tmp_path):
        again = [tmp_path / "a.html", tmp_path / "b.html"]
        for path in again:
            write_report(path, ["cells"], images, findings, sizes(DataConfig(), images))
        assert again[0].read_bytes() == again[1].read_bytes()
        assert 'id="suspects"' not in again[0].read_text(encoding="utf-8")
        assert "<script" not in again[0].read_text(encoding="utf-8")

    def test_clean_images_have_no_galleries(self, images, tmp_path):
        clean = images.take(np.arange(36))
        write_report(
            tmp_path / "x.html", ["x"], clean, brute_force(clean), sizes(DataConfig(), clean)
        )
        assert Reader((tmp_path / "x.html").read_text(encoding="utf-8")).tiles == {"means": 3}

    def test_a_browser_shows_it(self, page, tmp_path):
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if browser is None:
            pytest.skip("no chromium on the PATH: the page was not opened in a browser")
        done = subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert Reader(done.stdout).tiles["junk"] == 2
        assert done.stdout.count("<svg") == 2


class TestStatistics:
    def test_agree_with_numpy(self, images, findings):
        good = ~findings.junk
        found = statistics(images, good)
        pixels = images.pixels.astype(np.float64)
        assert np.allclose(found.mean, pixels.mean(axis=(1, 2)), atol=1e-2)
        mine = pixels[good & (images.labels == 1)]
        assert np.abs(found.mean_image[1] - mine.mean(axis=0)).max() <= 0.51
        assert np.allclose(found.class_mean[1], mine.mean(axis=(0, 1, 2)), atol=1e-2)
        assert np.allclose(found.class_std[1], mine.std(axis=(0, 1, 2)), atol=1e-2)

    def test_a_class_of_nothing_but_junk_is_shown_all_the_same(self, images):
        good = images.labels != 2
        found = statistics(images, good)
        assert found.chosen.all()
        assert np.isfinite(found.class_std).all()


class TestSizes:
    def test_of_the_files_where_there_are_some(self, tmp_path):
        for name, shape in {"a/1": (40, 30), "a/2": (40, 30), "b/3": (9, 50)}.items():
            path = tmp_path / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", shape).save(path)
        images = load(DataConfig(data=str(tmp_path)), seed=0, largest=16)
        assert sizes(DataConfig(data=str(tmp_path)), images) == [((40, 30), 2), ((9, 50), 1)]
        table = tmp_path / "a" / "table.csv"
        rows = ["1.png,x", f"{tmp_path}/a/2.png,x", "../b/3.png,y"]
        table.write_text("\n".join(["path,label", *rows]))
        images = load(DataConfig(data=str(table)), seed=0, largest=16)
        assert sizes(DataConfig(data=str(table)), images) == [((40, 30), 2), ((9, 50), 1)]

    def test_of_the_pixels_else(self, images):
        assert sizes(DataConfig(), images) == [((32, 32), 46)]


class TestFigures:
    def test_names_are_not_read_as_formulas(self):
        colours = {"$\\frac$": np.zeros((3, 3), np.float32), "_b": np.ones((1, 3), np.float32)}
        assert "$\\frac$" in colour_figure(colours)
        places = np.random.default_rng(0).random((8, 2)).astype(np.float32)
        labels = np.arange(8) % 2
        chart = map_figure(places, labels, labels == 5, ("$\\frac$", "_b"))
        assert "$\\frac$" in chart
        assert ">_b<" in chart
        assert ">junk<" not in chart

    @pytest.mark.parametrize("count", [2, 10, 11, 200])
    def test_every_class_has_its_colour(self, count):
        assert len(set(palette(count))) == count


class TestEmbed:
    def test_junk_is_on_the_map(self, findings):
        places = image_map(findings)
        assert set(np.flatnonzero(findings.junk)) <= set(places.rows.tolist())
        assert places.places.shape == (len(places.rows), 2)
        assert len(places.rows) <= MOST

    def test_too_few_images_or_equal_ones_have_no_map(self, images):
        assert image_map(brute_force(images.take(np.arange(6)))) is None
        flat = brute_force(images)
        flat.features[:] = 1
        assert image_map(flat) is None


def test_a_repeated_frame_is_one_tile(images, findings):
    tiles = junk_gallery(images, findings).tiles
    assert sorted(tile.badge for tile in tiles) == ["", "5 times"]
    assert {tile.title.split(", ")[1] for tile in tiles} == {"under 3 labels", "labelled cat $x$"}
