"""Who belongs together is the same after every way of writing and reading images."""

import csv
import dataclasses

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folds.audit.clean import Selection, write_clean
from folds.config import DataConfig, SplitConfig
from folds.images import load
from folds.images.groups import named_groups
from folds.images.npz import NpzSource
from folds.splits.make import make_splits
from folds.splits.manifest import SplitManifest
from tests.conftest import small_images
from tests.folds.audit.planted import brute_force

COUNT = 12
IMAGES = small_images((COUNT // 2, COUNT // 2), side=8)
FOUND = brute_force(IMAGES)

words = st.text(
    st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=8
).filter(lambda word: word == word.strip())
grouped = st.lists(words, min_size=2, max_size=4, unique=True).flatmap(
    lambda names: st.lists(st.sampled_from(names), min_size=COUNT, max_size=COUNT)
)


def named(groups):
    return dataclasses.replace(IMAGES, groups=np.array(groups))


def told(images):
    """Group of each id."""
    return dict(zip(images.ids.tolist(), images.groups.tolist(), strict=True))


@settings(max_examples=25)
@given(grouped, st.sets(st.integers(0, COUNT - 1), max_size=4))
def test_in_a_cleaned_file(tmp_path_factory, groups, left_out):
    images, path = named(groups), tmp_path_factory.mktemp("clean") / "clean.npz"
    why = tuple("junk" * (row in left_out) for row in range(COUNT))
    write_clean(path, images, FOUND, Selection(why, np.full(COUNT, -1)))
    kept = np.array([row for row in range(COUNT) if row not in left_out])
    expected = told(images.take(kept))
    assert told(load(DataConfig(data=str(path)), seed=0, largest=8)) == expected
    source = NpzSource(path, 8, True, None, 0)
    assert told(source.decode_to(path.with_name("pixels.npy"))) == expected


@settings(max_examples=10)
@given(grouped)
def test_in_a_table(tmp_path_factory, groups):
    images, folder = named(groups), tmp_path_factory.mktemp("table")
    ids = [f"{name}.png" for name in images.ids.tolist()]
    for name, pixels in zip(ids, images.pixels, strict=True):
        Image.fromarray(pixels).save(folder / name)
    labels = [images.class_names[label] for label in images.labels.tolist()]
    columns = {"path": ids, "label": labels, "group": images.groups.tolist()}
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    pd.DataFrame(columns).to_parquet(folder / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        read = load(DataConfig(data=str(folder / name)), seed=0, largest=8)
        assert told(read) == dict(zip(ids, groups, strict=True))


@settings(max_examples=25)
@given(grouped, st.permutations(range(COUNT)))
def test_in_a_subset_and_in_the_splits(tmp_path_factory, groups, order):
    images = named(groups)
    rows = np.array(order)[: COUNT // 2]
    assert told(images.take(rows)) == {name: told(images)[name] for name in images.ids[rows]}
    assert told(images.kept(np.sort(rows))) == told(images.take(rows))
    path = tmp_path_factory.mktemp("splits") / "splits.json"
    ids = dataclasses.replace(images, labels=np.arange(COUNT) % 2)
    if min(len({groups[row] for row in range(label, COUNT, 2)}) for label in (0, 1)) < 2:
        return  # fewer groups than folds are refused
    make_splits(ids, SplitConfig(folds=2)).write(path)
    assert told(SplitManifest.read(str(path))) == told(images)


def test_ids_that_name_groups_name_them_after_cleaning(tmp_path):
    ids = np.array([f"patient{row % 2}/{row}.png" for row in range(COUNT)])
    images = dataclasses.replace(IMAGES, ids=ids, groups=ids)
    write_clean(tmp_path / "clean.npz", images, FOUND, Selection(("",) * COUNT, np.zeros(COUNT)))
    read = load(DataConfig(data=str(tmp_path / "clean.npz")), seed=0, largest=8)
    assert set(named_groups(read, r"(patient\d)").groups) == {"patient0", "patient1"}
