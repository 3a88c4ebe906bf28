import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.config import SplitConfig
from folds.errors import UserError
from folds.images import ImageSet
from folds.splits.make import make_splits, tasks
from folds.splits.manifest import SplitManifest

LAW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def image_set(labels, groups=None):
    labels = np.asarray(labels, dtype=np.int64)
    ids = np.array([f"i{row:05d}" for row in range(len(labels))])
    names = tuple(f"c{c}" for c in range(int(labels.max()) + 1))
    groups = ids if groups is None else np.asarray(groups).astype(np.str_)
    return ImageSet(np.zeros((len(ids), 1, 1, 3), np.uint8), labels, names, ids, groups)


@st.composite
def cases(draw, grouped=False, holdout=False):
    """Images with enough of each class for the folds, and how to split them."""
    folds = draw(st.integers(2, 6))
    least = 3 * folds if holdout else folds
    counts = draw(st.lists(st.integers(least, 25), min_size=2, max_size=4))
    labels = np.array(draw(st.permutations(np.repeat(range(len(counts)), counts).tolist())))
    config = SplitConfig(
        folds=folds,
        repeats=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**32 - 4)),
        holdout=draw(st.floats(0.05, 0.4)) if holdout else 0,
    )
    groups = None
    if grouped:  # per class, as many singletons as it needs and the rest in groups of up to 4
        groups = np.arange(len(labels))
        for label in range(len(counts)):
            rows = np.flatnonzero(labels == label)[least:]
            size = draw(st.integers(1, 4))
            groups[rows] = 10_000 * (label + 1) + np.arange(len(rows)) // size
    return image_set(labels, groups), config


GROUPED = st.one_of(cases(grouped=True), cases(grouped=True, holdout=True))
ALONE = st.one_of(cases(), cases(holdout=True))
EITHER = st.one_of(ALONE, GROUPED)


@LAW
@given(EITHER)
def test_each_image_is_validated_exactly_once_a_repeat_but_for_the_holdout(case):
    images, config = case
    manifest = make_splits(images, config)
    holdout = manifest.holdout(images.ids)
    assert bool(len(holdout)) == bool(config.holdout)
    seen = np.zeros((config.repeats, len(images)), int)
    for repeat, fold in tasks(manifest):
        train, held_out = manifest.parts(repeat, fold, images.ids)
        assert sorted([*train, *held_out, *holdout]) == list(range(len(images)))
        assert len(held_out)
        seen[repeat, held_out] += 1
    assert (np.delete(seen, holdout, axis=1) == 1).all()
    assert (seen[:, holdout] == 0).all()


@LAW
@given(GROUPED)
def test_groups_are_never_cut(case):
    images, config = case
    manifest = make_splits(images, config)
    for repeat, fold in tasks(manifest):
        parts = [*manifest.parts(repeat, fold, images.ids), manifest.holdout(images.ids)]
        groups = [name for part in parts for name in set(images.groups[part])]
        assert len(groups) == len(set(groups)) == len(set(images.groups))


@LAW
@given(ALONE)
def test_class_counts_are_within_one_image_of_ideal(case):
    images, config = case
    manifest = make_splits(images, config)
    held_out = np.bincount(images.labels[manifest.holdout(images.ids)], minlength=9)
    total = np.bincount(images.labels, minlength=9)
    assert np.abs(held_out - config.holdout * total).max() <= 1
    for repeat in range(config.repeats):
        parts = [manifest.parts(repeat, fold, images.ids)[1] for fold in range(config.folds)]
        counts = np.array([np.bincount(images.labels[p], minlength=9) for p in parts])
        assert np.ptp(counts, axis=0).max() <= 1


@LAW
@given(EITHER, st.randoms(use_true_random=False))
def test_order_of_the_images_does_not_matter(case, random):
    images, config = case
    order = list(range(len(images)))
    random.shuffle(order)
    shuffled = images.take(np.array(order))
    one, two = make_splits(images, config), make_splits(shuffled, config)
    assert one.digest == two.digest
    assert one.data == two.data
    for repeat, fold in tasks(one):
        held_out = images.ids[one.parts(repeat, fold, images.ids)[1]]
        also = shuffled.ids[two.parts(repeat, fold, shuffled.ids)[1]]
        assert set(held_out) == set(also)


@LAW
@given(EITHER)
def test_file_and_back(tmp_path, case):
    images, config = case
    manifest = make_splits(images, config)
    manifest.write(tmp_path / "splits.json")
    again = SplitManifest.read(str(tmp_path / "splits.json"))
    assert again.digest == manifest.digest
    assert (again.fold == manifest.fold).all()
    assert (again.ids == manifest.ids).all()
    assert (again.groups == manifest.groups).all()
    assert (again.folds, again.repeats, again.method, again.data) == (
        config.folds, config.repeats, manifest.method, manifest.data,
    )  # fmt: skip


class TestMakeSplits:
    def test_seed_and_repeat_give_other_folds(self):
        images = image_set([0, 1] * 30)
        made = [make_splits(images, SplitConfig(folds=3, seed=seed)).fold[0] for seed in (0, 7)]
        assert (made[0] != made[1]).any()
        repeats = make_splits(images, SplitConfig(folds=3, repeats=2)).fold
        assert (repeats[0] != repeats[1]).any()
        assert (repeats[0] == made[0]).all()

    def test_method_says_how(self):
        plain = make_splits(image_set([0, 1] * 9), SplitConfig(folds=3, seed=4))
        assert plain.method == "StratifiedKFold (shuffle, seed 4)"
        grouped = make_splits(image_set([0, 1] * 9, np.arange(18) // 2), SplitConfig(folds=3))
        assert grouped.method == "stratified groups, most even of 8 orders (shuffle, seed 0)"
        held = make_splits(image_set([0, 1] * 9), SplitConfig(folds=3, holdout=0.25))
        assert held.method == "StratifiedKFold (shuffle, seed 0); hold-out 0.25"

    def test_too_few_images_of_a_class_are_refused(self):
        with pytest.raises(UserError, match=r"class 'c1' has 2 images .*--folds 5: add images"):
            make_splits(image_set([0] * 20 + [1] * 2), SplitConfig(folds=5))

    def test_too_few_images_beside_the_holdout_are_refused(self):
        with pytest.raises(UserError, match=r"'c1' has 4 images .* beside the hold-out, fewer"):
            make_splits(image_set([0] * 20 + [1] * 6), SplitConfig(folds=5, holdout=0.3))

    def test_a_holdout_smaller_than_a_group_is_refused(self):
        images = image_set([0, 1] * 30, np.arange(60) // 20)
        with pytest.raises(UserError, match=r"--holdout 0\.01: less than one group"):
            make_splits(images, SplitConfig(folds=2, holdout=0.01))

    def test_too_few_groups_of_a_class_are_refused(self):
        images = image_set([0] * 6 + [1] * 6, [*range(6), *[7] * 6])
        with pytest.raises(UserError, match="class 'c1' has 1 image "):
            make_splits(images, SplitConfig(folds=2))

    def test_tasks_are_all_folds_of_all_repeats(self):
        manifest = make_splits(image_set([0, 1] * 9), SplitConfig(folds=3, repeats=2))
        assert list(tasks(manifest)) == [(r, f) for r in range(2) for f in range(3)]


@pytest.fixture
def saved(tmp_path):
    """Images, a config that names their splits.json, and an edit of that file."""
    images = image_set([0, 1, 1] * 8, np.arange(24) // 2)
    path = tmp_path / "splits.json"
    make_splits(images, SplitConfig(folds=3, seed=5)).write(path)

    def edit(change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return images, SplitConfig(folds=3, splits=str(path)), edit


def turned(row):
    return [(row["fold"][0] + 1) % 3]


def rows(change):
    return lambda content: change(content["images"])


class TestGivenSplits:
    def test_are_used_whatever_the_seed(self, saved):
        images, config, _ = saved
        expected = make_splits(images, SplitConfig(folds=3, seed=5)).digest
        assert make_splits(images, config).digest == expected

    def test_fit_images_in_any_order(self, saved):
        images, config, _ = saved
        manifest = make_splits(images, config)
        backwards = images.take(np.arange(24)[::-1])
        held_out = manifest.parts(0, 1, images.ids)[1]
        also = manifest.parts(0, 1, backwards.ids)[1]
        assert set(images.ids[held_out]) == set(backwards.ids[also])

    def test_lines_in_another_order_are_another_file(self, saved):
        images, config, edit = saved
        edit(rows(list.reverse))
        with pytest.raises(UserError, match="digest does not fit"):
            make_splits(images, config)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (
                rows(lambda r: [one.update(fold=turned(one)) for one in r[:2]]),
                "digest does not fit",
            ),
            (rows(lambda r: r.pop()), "digest does not fit"),
            (rows(lambda r: r.append(r[0])), "an id stands in two parts"),
            (rows(lambda r: r[0].update(fold=turned(r[0]))), "group stands in two"),
            (rows(lambda r: [one.update(fold=[0]) for one in r]), "not 0 to 2, all of them used"),
            (rows(lambda r: [one.update(fold=[9]) for one in r[:2]]), "not 0 to 2, all of them"),
            (lambda c: c.pop("digest"), "not a splits.json of crossfold .*make a new one"),
            (lambda c: c.pop("images"), "not a splits.json"),
            (lambda c: c.pop("data"), "not a splits.json"),
            (lambda c: c.update(data=[]), "not a splits.json"),
            (rows(lambda r: r[0].update(fold=[-1])), "or in the hold-out and a fold"),
            (lambda c: c.update(images=[]), "splits"),
            (lambda c: c.update(images=5), "not a splits.json"),
            (lambda c: c.update(folds="x"), "not a splits.json"),
            (rows(lambda r: r[0].update(fold=0)), "not a splits.json"),
            (rows(lambda r: r[0].update(fold=[10**30])), "not a splits.json"),
            (rows(lambda r: [one.update(fold=one["fold"][0]) for one in r]), "splits"),
        ],
    )
    def test_a_file_changed_by_hand_is_refused(self, saved, change, reason):
        images, config, edit = saved
        edit(change)
        with pytest.raises(UserError, match=reason):
            make_splits(images, config)

    @pytest.mark.parametrize("text", ["", "[]", "5", "{", "\x00"])
    def test_no_splits_file_is_refused(self, saved, tmp_path, text):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match=r"not a splits\.json"):
            make_splits(saved[0], SplitConfig(splits=str(tmp_path / "x.json")))

    def test_missing_file_is_refused(self, saved, tmp_path):
        with pytest.raises(UserError, match=r"--splits .*: No such file or directory; give a"):
            make_splits(saved[0], SplitConfig(splits=str(tmp_path / "x.json")))

    def test_other_images_are_refused_and_counted(self, saved):
        images, config, _ = saved
        ids = images.ids.copy()
        ids[0] = "new"
        other = ImageSet(images.pixels, images.labels, images.class_names, ids, images.groups)
        reason = r"1 images are not in it and 1 of its ids are not in --data \(new, i00000\)"
        with pytest.raises(UserError, match=reason):
            make_splits(other, config)

    def test_missing_images_are_refused(self, saved):
        images, config, _ = saved
        with pytest.raises(UserError, match="0 images are not in it and 4 of its ids"):
            make_splits(images.take(np.arange(20)), config)

    def test_changed_pixels_are_refused(self, saved):
        images, config, _ = saved
        other = dataclasses.replace(images, pixels=images.pixels + np.uint8(1))
        with pytest.raises(UserError, match=r"does not match .* the pixels have changed; use the"):
            make_splits(other, config)

    def test_changed_labels_are_refused(self, saved):
        images, config, _ = saved
        other = dataclasses.replace(images, labels=images.labels[::-1].copy())
        with pytest.raises(UserError, match=r"does not match .* the labels have changed; use the"):
            make_splits(other, config)

    def test_images_decoded_to_another_size_are_taken(self, saved):
        images, config, _ = saved
        other = dataclasses.replace(images, pixels=np.ones((len(images), 2, 2, 3), np.uint8))
        assert make_splits(other, config).digest == make_splits(images, config).digest

    @pytest.mark.parametrize("other", [{"folds": 4}, {"folds": 3, "repeats": 2}])
    def test_other_numbers_are_refused_with_the_right_flags(self, saved, other):
        images, config, _ = saved
        with pytest.raises(UserError, match="holds 3 folds, 1 repeats; pass --folds 3 --repeats 1"):
            make_splits(images, SplitConfig(**other, splits=config.splits))


def test_a_file_that_cuts_a_group_of_the_images_is_refused(tmp_path):
    images = image_set([0, 1] * 20)
    config = SplitConfig(folds=2)
    path = tmp_path / "splits.json"
    make_splits(images, config).write(path)
    pairs = np.array([f"patient {row // 2}" for row in range(len(images))])
    grouped = dataclasses.replace(images, groups=pairs)
    again = config.model_copy(update={"splits": str(path)})
    assert make_splits(images, again).digest == make_splits(images, config).digest
    with pytest.raises(UserError, match="a group stands in two folds"):
        make_splits(grouped, again)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "splits.json"
    make_splits(image_set([0, 1] * 20), SplitConfig(folds=2)).write(path)
    path.write_text(path.read_text().replace("crossfold-splits/2", "crossfold-splits/9"))
    with pytest.raises(UserError, match="'crossfold-splits/9', not 'crossfold-splits/2'"):
        SplitManifest.read(str(path))


class TestGivenHoldout:
    @pytest.fixture
    def given(self, tmp_path):
        """Images, their splits with a hold-out in two repeats, and the file of these."""
        images = image_set([0, 1] * 30)
        path = tmp_path / "splits.json"
        manifest = make_splits(images, SplitConfig(folds=3, repeats=2, holdout=0.2))
        manifest.write(path)
        return images, manifest, path

    def test_is_taken_over(self, given):
        images, manifest, path = given
        config = SplitConfig(folds=3, repeats=2, holdout=0.2, splits=str(path))
        again = make_splits(images, config)
        assert (again.holdout(images.ids) == manifest.holdout(images.ids)).all()
        assert len(again.holdout(images.ids)) == 12

    def test_that_the_settings_do_not_name_is_refused(self, given):
        images, _, path = given
        with pytest.raises(UserError, match=r"has 20% of the images as hold-out .*--holdout 0\.2"):
            make_splits(images, SplitConfig(folds=3, repeats=2, splits=str(path)))

    def test_that_is_not_in_the_file_is_refused(self, given):
        images, _, path = given
        make_splits(images, SplitConfig(folds=3)).write(path)
        with pytest.raises(UserError, match=r"has 0% .* --holdout is 0\.2; leave --holdout out"):
            make_splits(images, SplitConfig(folds=3, holdout=0.2, splits=str(path)))

    def test_of_one_repeat_alone_is_refused(self, given):
        path = given[2]
        content = json.loads(path.read_text())
        row = next(row for row in content["images"] if row["fold"] == [-1, -1])
        row["fold"] = [-1, 0]
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match="in the hold-out of one repeat and in a fold of"):
            SplitManifest.read(str(path))
