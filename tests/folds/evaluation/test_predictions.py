from dataclasses import replace

import numpy as np

from folds.evaluation.predictions import Predictions, sum_by_image


def test_sums_of_an_images_rows_are_those_in_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat([f"{n:02d}" for n in range(40)], 3))
    probabilities = rng.dirichlet(np.ones(5), len(ids)).astype(np.float32)
    images = sum_by_image(ids, probabilities)
    assert images.ids.tolist() == sorted(set(ids))
    assert (images.ids[images.image] == ids).all()
    assert (images.counts == 3).all()
    assert (ids[images.first] == images.ids).all()
    for name, own in zip(images.ids, images.sums, strict=True):
        total = np.zeros(5)
        for row in np.flatnonzero(ids == name):
            total += probabilities[row]
        assert (own == total).all()


def test_the_test_share_is_of_all_folds_though_some_were_not_trained():
    zeros = np.zeros(40, np.int64)
    two = Predictions(zeros, np.ones((40, 1)), zeros, fold=np.arange(40) % 2, repeat=zeros)
    assert two.test_share == 1 / 2
    assert replace(two, k=5).test_share == 1 / 5
    assert replace(two, k=5).take(np.arange(10)).test_share == 1 / 5
    twice = replace(two, repeat=np.arange(40) // 20)
    assert twice.test_share == 1 / 2
