import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config import SplitConfig
from folds.errors import UserError
from folds.splits.fold_balance import split_notices
from folds.splits.make import make_splits
from folds.splits.manifest import SplitManifest
from folds.splits.sites import units
from tests.folds.splits.test_make import image_set


def at_sites(labels, sites, groups=None):
    return replace(image_set(labels, groups), columns={"site": np.array(sites).astype(np.str_)})


def by_site(**settings):
    return SplitConfig(split_by="site", **settings)


@st.composite
def sets(draw):
    """Images of several sites, each of two images or more, some of whose groups span sites."""
    sites = draw(st.integers(2, 7))
    sizes = draw(st.lists(st.integers(2, 9), min_size=sites, max_size=sites))
    site = np.repeat(np.arange(sites), sizes)
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=len(site), max_size=len(site))))
    labels[:2] = (0, 1)
    groups = np.arange(len(site)) // draw(st.integers(1, 3))
    return at_sites(labels, site, groups)


@settings(max_examples=60)
@given(sets(), st.integers(2, 7), st.integers(1, 2))
def test_no_fold_cuts_a_site_or_a_group_and_none_is_empty(images, folds, repeats):
    config = by_site(folds=folds, repeats=repeats)
    whole = len(set(units(images, config).tolist()))
    if whole < folds or (whole == folds and repeats > 1):
        with pytest.raises(UserError, match=r"fewer than --folds|one way alone"):
            make_splits(images, config)
        return
    manifest = make_splits(images, config)
    number = manifest.of(images.ids)
    for names in (images.sites, images.groups):
        for name in set(names.tolist()):
            assert (number[:, names == name] == number[:, names == name][:, :1]).all()
    assert set(number.ravel().tolist()) == set(range(folds))


@given(st.lists(st.integers(2, 30), min_size=2, max_size=9), st.integers(0, 99))
def test_with_as_many_folds_as_sites_each_leaves_one_out(sizes, seed):
    sites = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.arange(len(sites)) % 2
    images = at_sites(labels, sites)
    manifest = make_splits(images, by_site(folds=len(sizes), seed=seed))
    pairs = set(zip(images.sites.tolist(), manifest.of(images.ids)[0].tolist(), strict=True))
    assert len({fold for _, fold in pairs}) == len(pairs) == len(sizes)


def test_sites_of_one_class_each_fill_the_folds():
    sites = np.repeat(np.arange(4), 5)
    manifest = make_splits(at_sites(sites, sites), by_site(folds=4))
    assert set(manifest.fold[0].tolist()) == {0, 1, 2, 3}


def test_a_holdout_is_made_of_whole_sites():
    sites = np.repeat(np.arange(10), 6)
    images = at_sites(np.arange(60) % 3, sites)
    manifest = make_splits(images, by_site(folds=3, holdout=0.2))
    aside = manifest.holdout(images.ids)
    assert 0 < len(aside) < 60
    assert not set(images.sites[aside]) & set(np.delete(images.sites, aside))


def test_the_file_tells_them_and_reads_back(tmp_path):
    images = at_sites([0, 1] * 6, np.repeat(["x", "y", "z"], 4))
    manifest = make_splits(images, by_site(folds=3))
    manifest.write(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["images"][0]["site"] == "x"
    again = SplitManifest.read(str(tmp_path / "s.json"))
    assert again.sites.tolist() == images.sites.tolist()
    assert again.digest == manifest.digest
    given_ = by_site(folds=3, splits=str(tmp_path / "s.json"))
    assert make_splits(images, given_).digest == manifest.digest


def test_given_folds_that_cut_a_site_are_refused(tmp_path):
    images = at_sites([0, 1] * 6, np.repeat(["x", "y", "z"], 4))
    make_splits(images, SplitConfig(folds=2)).write(tmp_path / "s.json")
    with pytest.raises(UserError, match="a site stands in two folds"):
        make_splits(images, by_site(folds=2, splits=str(tmp_path / "s.json")))


def test_without_sites_the_file_is_as_before(tmp_path):
    images = at_sites([0, 1] * 6, np.repeat(["x", "y", "z"], 4))
    plain = replace(images, columns={})
    one, two = (make_splits(own, SplitConfig(folds=2)) for own in (images, plain))
    assert one.digest == two.digest
    one.write(tmp_path / "s.json")
    assert set(json.loads((tmp_path / "s.json").read_text())["images"][0]) == {
        "id",
        "group",
        "fold",
    }


SPANNED = [0] * 4 + [1] * 2 + [2] * 2


@pytest.mark.parametrize(
    ("sites", "groups", "settings", "told"),
    [
        (None, None, {"folds": 2}, "no sites are known; give --data a column site"),
        (
            "aaaabbbb",
            None,
            {"folds": 3},
            r"2 sites \(a, b\), fewer than --folds 3: lower --folds to",
        ),
        ("aaaaaaaa", None, {"folds": 2}, r"1 site \(a\), fewer than --folds 2: --split-by group"),
        ("aabbccdd", SPANNED, {"folds": 4}, "3 where groups span them, fewer than --folds 4"),
        ("aaaabbbb", None, {"folds": 2, "repeats": 2}, "^--repeats 2: .*one way alone"),
        ("aaaabbbb", None, {"folds": 2, "holdout": 0.05}, "less than one site|beside the hold-out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(sites, groups, settings, told):
    images = image_set([0, 1] * 4, groups)
    if sites is not None:
        images = replace(images, columns={"site": np.array(list(sites))})
    with pytest.raises(UserError, match=told) as caught:
        make_splits(images, by_site(**settings))
    assert "\n" not in str(caught.value)


def test_notices_tell_of_groups_that_span_sites_and_of_unknown_classes():
    groups = [0, 0, 0, 0, 1, 1, 2, 3]
    images = at_sites([0, 1, 0, 1, 0, 2, 0, 1], list("aabbccdd"), groups)
    told = "\n".join(split_notices(make_splits(images, by_site(folds=3)), images))
    assert "1 group of images span sites (0), which therefore stay in one fold" in told
    assert "all images of 'c2' are at sites that fold" in told
    assert "are even to within" in told
