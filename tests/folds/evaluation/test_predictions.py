import numpy as np

from folds.evaluation.predictions import sum_by_image


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
