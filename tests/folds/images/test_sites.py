import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folds.audit.clean import Selection, write_clean
from folds.config import Config, DataConfig
from folds.errors import UserError
from folds.images import load
from folds.images.groups import named_sites
from folds.images.sites import shared
from folds.images.source import files_of, open_source
from tests.conftest import small_images
from tests.folds.audit.planted import brute_force

COUNTS = (6, 5, 4)


def saved(path, images, **more):
    names = np.array(images.class_names)
    facts = {"labels": images.labels, "class_names": names, "ids": images.ids}
    np.savez(path, images=images.pixels, **facts, **more)
    return path


def folder(path, images):
    for name, label, pixels in zip(images.ids, images.labels, images.pixels, strict=True):
        place = path / images.class_names[label] / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return path


def table(path, images, **columns):
    folder(path, images)
    names = [images.class_names[label] for label in images.labels.tolist()]
    files = [f"{name}/{own}.png" for name, own in zip(names, images.ids.tolist(), strict=True)]
    every = {"path": files, "label": names, **columns}
    with (path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([every, *zip(*every.values(), strict=True)])
    return path / "t.csv"


def read(*sources, largest=64, **given):
    config = Config.from_flat({"data": list(map(str, sources)), **given}).data
    return load(config, seed=0, largest=largest)


@pytest.fixture
def images():
    return small_images(COUNTS, side=16)


class TestColumns:
    def test_of_a_table_are_site_and_slices(self, tmp_path, images):
        cells = [("u", "v")[row % 2] for row in range(len(images))]
        gaps = [("", "w", "x")[row % 3] for row in range(len(images))]
        path = table(tmp_path, images, site=cells, scanner=gaps, other=cells)
        found = read(path, slices="scanner")
        assert set(found.columns) == {"site", "scanner"}
        own = {name: row for row, name in enumerate(images.ids.tolist())}
        rows = [own[name.split("/")[1].removesuffix(".png")] for name in found.ids.tolist()]
        assert found.sites.tolist() == [cells[row] for row in rows]
        assert found.columns["scanner"].tolist() == [gaps[row] for row in rows]

    @pytest.mark.parametrize("way", ["decode", "decode_to"])
    def test_of_an_npz_are_arrays(self, tmp_path, images, way):
        sites = np.array([f"s{row % 3}" for row in range(len(images))])
        path = saved(tmp_path / "x.npz", images, sites=sites, scan_ner=np.arange(len(images)))
        config = DataConfig(data=str(path), slices=("scan_ner",), limit=9)
        source = open_source(config, seed=0, largest=16)
        found = source.decode() if way == "decode" else source.decode_to(tmp_path / "p.npy")
        rows = [images.ids.tolist().index(name) for name in found.ids.tolist()]
        assert len(rows) == 9
        assert found.sites.tolist() == sites[rows].tolist()
        assert found.columns["scan_ner"].tolist() == list(map(str, rows))

    @pytest.mark.parametrize("kind", ["table", "npz", "folder"])
    def test_that_are_not_there_are_refused_in_one_line(self, tmp_path, images, kind):
        path = {
            "table": lambda: table(tmp_path, images, scanners=["a"] * len(images)),
            "npz": lambda: saved(tmp_path / "x.npz", images, scanners=images.labels),
            "folder": lambda: folder(tmp_path, images),
        }[kind]()
        told = "has no columns; give a table" if kind == "folder" else "nearest: scanners"
        with pytest.raises(UserError, match=rf"^--slices scanner: --data .*{told}"):
            read(path, slices="scanner")

    def test_with_a_meaning_of_their_own_are_no_slices(self):
        with pytest.raises(UserError, match="has a meaning of its own"):
            Config.from_flat({"slices": "sex,site"})

    @settings(max_examples=20)
    @given(st.lists(st.sampled_from("abc"), min_size=15, max_size=15), st.permutations(range(15)))
    def test_stay_with_their_images(self, values, order):
        images = small_images(COUNTS, side=8)
        images = replace(images, columns={"site": np.array(values), "x": np.array(values)})
        rows = np.array(order)
        told = dict(zip(images.ids.tolist(), values, strict=True))
        for some in (images.take(rows), images.kept(np.sort(rows[:9])), images.limited(9, seed=1)):
            for column in ("site", "x"):
                assert some.columns[column].tolist() == [told[name] for name in some.ids.tolist()]

    def test_are_in_a_cleaned_file(self, tmp_path, images):
        sites = np.array([f"s{row % 3}" for row in range(len(images))])
        images = replace(images, columns={"site": sites, "scanner": sites})
        why = ("junk", *("",) * (len(images) - 1))
        chosen = Selection(why, np.full(len(images), -1))
        write_clean(tmp_path / "c.npz", images, brute_force(images), chosen)
        found = read(tmp_path / "c.npz", slices="scanner")
        assert found.sites.tolist() == found.columns["scanner"].tolist() == sites[1:].tolist()

    def test_of_another_number_are_refused(self, images):
        with pytest.raises(UserError, match="2 values of site for 15 images"):
            replace(images, columns={"site": np.array(["a", "b"])})


class TestPattern:
    def test_finds_sites_in_ids(self, images):
        found = named_sites(images, r"(?P<site>\d)$")
        assert found.sites.tolist() == [name[-1] for name in images.ids.tolist()]

    def test_beside_sites_of_the_data_is_refused(self, images):
        images = replace(images, columns={"site": images.ids})
        with pytest.raises(UserError, match="--data names sites itself"):
            named_sites(images, r"(\d)")

    def test_that_does_not_match_is_refused(self, images):
        with pytest.raises(UserError, match=r"--site-regex '\(x\)': names no site in 15 of 15 ids"):
            named_sites(images, "(x)")


class TestSeveralSources:
    def test_are_sites_whose_classes_are_united_by_name(self, tmp_path, images):
        other = replace(small_images((3, 4), side=16, seed=1), class_names=("class2", "new"))
        one, two = saved(tmp_path / "a.npz", images), folder(tmp_path / "b", other)
        found = read(f"a={one}", f"b={two}")
        assert found.class_names == ("class0", "class1", "class2", "new")
        assert found.counts == {"class0": 6, "class1": 5, "class2": 4 + 3, "new": 4}
        assert found.sites.tolist() == [name[0] for name in found.ids.tolist()]
        assert found.ids[:15].tolist() == [f"a/{name}" for name in images.ids.tolist()]
        assert (found.groups == found.ids).all()
        assert (found.pixels[:15] == images.pixels).all()

    @pytest.mark.parametrize("given_size", ["auto", 24, 8])
    def test_in_a_file_are_the_same_as_in_memory(self, tmp_path, given_size):
        one, two = small_images(COUNTS, side=16), small_images((4, 4), side=20, seed=1)
        sources = [f"a={saved(tmp_path / 'a.npz', one)}", f"b={folder(tmp_path / 'b', two)}"]
        config = Config.from_flat({"data": sources, "image_size": given_size}).data
        source = open_source(config, seed=0, largest=32)
        there, here = source.decode_to(tmp_path / "p.npy"), source.decode()
        side = {"auto": 32, 24: 24, 8: 8}[given_size]
        assert here.pixels.shape == there.pixels.shape == source.shape == (23, side, side, 3)
        assert there.digest == here.digest
        assert (there.sites == here.sites).all()
        assert [file.name for file in tmp_path.glob("*.npy")] == ["p.npy"]

    def test_of_one_size_keep_it(self, tmp_path, images):
        two = small_images((4, 4), side=16, seed=1)
        sources = [f"a={saved(tmp_path / 'a.npz', images)}", f"b={folder(tmp_path / 'b', two)}"]
        assert read(*sources).pixels.shape[1] == 16

    def test_broken_files_are_left_out(self, tmp_path, images):
        path = folder(tmp_path / "b", images)
        next(path.rglob("*.png")).write_bytes(b"no image")
        sources = [f"a={saved(tmp_path / 'a.npz', images)}", f"b={path}"]
        with pytest.raises(UserError, match=r"^--data b=.*1 of 15 image files cannot be read"):
            read(*sources)
        found = read(*sources, skip_broken=True)
        assert len(found) == 29
        assert [line[:2] for line in found.notices] == ["b:"]
        source = open_source(
            Config.from_flat({"data": sources, "skip_broken": True}).data, seed=0, largest=32
        )
        assert source.decode_to(tmp_path / "p.npy").digest == source.decode().digest

    def test_groups_and_sites_of_their_own_are_told_apart(self, tmp_path, images):
        groups = np.array([f"p{row % 4}" for row in range(len(images))])
        one = saved(tmp_path / "a.npz", images, groups=groups, sites=groups, sex=groups)
        two = saved(tmp_path / "b.npz", images, groups=groups, sex=groups)
        found = read(f"a={one}", f"b={two}", slices="sex")
        assert set(found.groups) == {f"{site}/p{n}" for site in "ab" for n in range(4)}
        assert set(found.sites) == {"b", *(f"a/p{n}" for n in range(4))}
        assert found.columns["sex"].tolist() == [*groups, *groups]

    def test_give_their_share_of_the_limit(self, tmp_path, images):
        many = small_images((40, 20), side=16)
        sources = [f"a={saved(tmp_path / 'a.npz', images)}", f"b={saved(tmp_path / 'b.npz', many)}"]
        found = read(*sources, limit=30)
        assert np.unique(found.sites, return_counts=True)[1].tolist() == [6, 24]

    @given(st.dictionaries(st.text(min_size=1), st.integers(1, 50), min_size=1), st.data())
    def test_shares_are_whole_and_as_even_as_that_allows(self, counts, data):
        total = sum(counts.values())
        limit = data.draw(st.integers(len(counts), total))
        shares = shared(limit, counts)
        assert sum(shares.values()) == limit
        assert all(1 <= shares[name] <= count for name, count in counts.items())

    def test_fewer_images_than_sites_are_refused(self, tmp_path, images):
        path = saved(tmp_path / "a.npz", images)
        with pytest.raises(UserError, match="--limit 1: fewer images than the 2 sites"):
            read(f"a={path}", f"b={path}", limit=1)

    def test_their_files_are_found(self, tmp_path, images):
        sources = [f"a={folder(tmp_path / 'x', images)}", "b=demo"]
        config = Config.from_flat({"data": sources}).data
        found = load(config, seed=0, largest=32)
        files = files_of(config, found.ids)
        assert len(files) == len(images)
        assert all(file.is_file() for file in files)

    @pytest.mark.parametrize(
        ("sources", "told"),
        [
            (["a=demo", "digits"], "must be NAME=SOURCE"),
            (["a=demo", "a=digits"], "two of them have one name"),
            ([], "names no images"),
        ],
    )
    def test_that_are_not_named_are_refused(self, sources, told):
        with pytest.raises(UserError, match=f"^--data .*{told}"):
            Config.from_flat({"data": sources})

    def test_that_are_not_there_are_named(self):
        with pytest.raises(UserError, match=r"^--data b=nowhere: no such file or folder"):
            read("a=demo", "b=nowhere")

    def test_one_source_alone_is_as_before(self):
        config = Config.from_flat({"data": ["demo"]})
        assert config == Config()
        assert config.digest == Config().digest
        assert (config.data.told, config.data.sources) == ("demo", {})
