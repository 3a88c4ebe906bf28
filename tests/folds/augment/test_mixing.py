import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch.testing import assert_close

from folds.augment.lab import statistics, to_lab
from tests.folds.augment.pictures import MIXERS, SIDE, images, of, smooth, table

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 3], np.int64)


def mixed(line, image=None, epoch=0, labels=LABELS):
    """Policy, mixing, images and shares of a batch of eight."""
    policy = of(line)
    image = images(len(labels)) if image is None else image
    mixing = policy.mixing(table(policy, len(labels), epoch), labels)
    partner = image[torch.from_numpy(mixing.partners)]
    return image, partner, mixing, *policy.mix(image, partner, mixing)


class TestPartners:
    @pytest.mark.parametrize("op", ["mixup", "cutmix", "fourier"])
    def test_are_other_images_and_all_occur(self, op):
        policy, seen = of({"op": op}), set()
        for epoch in range(60):
            mixing = policy.mixing(table(policy, 5, epoch), np.zeros(5, np.int64))
            assert (mixing.partners != np.arange(5)).all()
            seen |= set(enumerate(mixing.partners.tolist()))
        assert len(seen) == 5 * 4

    def test_within_a_class_are_of_that_class_and_the_lonely_stay_alone(self):
        for epoch in range(20):
            image, _, mixing, found, _ = mixed({"op": "within_class"}, epoch=epoch)
            assert (LABELS[mixing.partners] == LABELS).all()
            assert mixing.chosen.tolist() == [0] * 7 + [-1]
            assert torch.equal(found[7], image[7])

    def test_in_a_batch_of_one_nothing_is_mixed(self):
        policy = of({"op": "mixup"})
        assert policy.mixing(table(policy, 1), np.zeros(1, np.int64)).chosen.tolist() == [-1]

    def test_do_not_change_when_images_are_taken_in_parts(self):
        policy = of({"op": "cutmix"})
        mixing = policy.mixing(table(policy, 8), LABELS)
        part = mixing.part(np.arange(3, 6))
        assert part.partners.tolist() == mixing.partners[3:6].tolist()


class TestShares:
    def test_cutmix_counts_pixels(self):
        for epoch in range(12):
            image, partner, _, found, shares = mixed({"op": "cutmix"}, epoch=epoch)
            own, pasted = (found == image).all(1), (found == partner).all(1)
            assert (own | pasted).all()
            assert_close(own.float().mean((1, 2)), shares, atol=1e-6, rtol=0)

    def test_cutmix_pastes_one_rectangle_in_its_place(self):
        image, partner, _, found, _ = mixed({"op": "cutmix"})
        for one, two, three in zip(image, partner, found, strict=True):
            changed = (one != three).any(0)
            assert torch.equal(changed, changed.any(1)[:, None] & changed.any(0))
            assert torch.equal(three[:, changed], two[:, changed])

    def test_mixup_is_the_blend_of_its_shares(self):
        image, partner, _, found, shares = mixed({"op": "mixup"})
        weight = shares.view(-1, 1, 1, 1)
        assert_close(found, weight * image + (1 - weight) * partner, atol=1e-6, rtol=0)
        assert ((shares > 0) & (shares < 1)).all()

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
    def test_mixups_follow_the_beta_distribution(self, alpha):
        policy = of({"op": "mixup", "alpha": alpha})
        image = torch.zeros(2000, 3, 1, 1)
        mixing = policy.mixing(table(policy, 2000), np.zeros(2000, np.int64))
        shares = policy.mix(image, image, mixing)[1]
        assert kstest(shares.numpy(), beta(alpha, alpha).cdf).pvalue > 1e-3

    @pytest.mark.parametrize("op", ["fourier", "within_class", "colour_exchange"])
    def test_others_keep_the_label(self, op):
        image, _, _, found, shares = mixed({"op": op})
        assert (shares == 1).all()
        assert (found[:7] - image[:7]).abs().amax((1, 2, 3)).min() > 0.01


class TestFourier:
    def test_with_itself_changes_nothing(self):
        image = images(1).expand(8, -1, -1, -1).contiguous()
        assert_close(mixed({"op": "fourier"}, image)[3], image, atol=1e-5, rtol=0)

    def test_takes_the_partners_low_amplitudes_and_keeps_the_rest(self):
        image = images(8) * 0.2 + 0.4  # nothing is clamped
        policy = of({"op": "fourier", "band": 0.2})
        own = table(policy, 8)
        own[:, 1] = 1.0  # the whole amplitude
        mixing = policy.mixing(own, LABELS)
        partner = image[torch.from_numpy(mixing.partners)]
        found = policy.mix(image, partner, mixing)[0]
        ours, theirs, result = (torch.fft.fft2(one).abs() for one in (image, partner, found))
        axis = torch.fft.fftfreq(SIDE).abs() <= 0.2
        low = (axis[:, None] & axis).expand_as(ours)
        assert_close(result[low], theirs[low], atol=1e-2, rtol=1e-3)
        assert_close(result[~low], ours[~low], atol=1e-2, rtol=1e-3)

    def test_without_strength_changes_nothing(self):
        image, _, _, found, _ = mixed({"op": "fourier", "max": 0})
        assert_close(found, image, atol=1e-5, rtol=0)


class TestColourExchange:
    def exchanged(self, share, most=1.0):
        image = smooth(8) * 0.3 + 0.35  # hardly anything is cut off
        policy = of({"op": "colour_exchange", "max": most})
        own = table(policy, 8)
        own[:, 1] = share
        mixing = policy.mixing(own, LABELS)
        partner = image[torch.from_numpy(mixing.partners)]
        return image, partner, policy.mix(image, partner, mixing)[0]

    @pytest.mark.parametrize(("share", "most"), [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (0.75, 2.0)])
    def test_goes_so_far_towards_the_partners_statistics_and_beyond(self, share, most):
        ours, theirs, found = (statistics(to_lab(i)) for i in self.exchanged(share, most))
        weight = share * most
        assert_close(found.mean, torch.lerp(ours.mean, theirs.mean, weight), atol=0.3, rtol=0)
        wanted = ours.spread * (theirs.spread / ours.spread) ** weight
        assert_close(found.spread, wanted, atol=0.3, rtol=0)

    def test_keeps_what_is_where(self):
        image, _, found = self.exchanged(1.0)
        for one, two in zip(to_lab(image)[:, 0], to_lab(found)[:, 0], strict=True):
            assert torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1] > 0.98

    def test_without_strength_changes_nothing(self):
        image, _, _, found, _ = mixed({"op": "colour_exchange", "max": 0})
        assert_close(found, image, atol=1e-4, rtol=0)


class TestEvery:
    @pytest.mark.parametrize("op", MIXERS)
    def test_stays_in_range_and_leaves_its_input_alone(self, op):
        image = images(8)
        before = image.clone()
        _, _, _, found, shares = mixed({"op": op}, image)
        assert found.shape == image.shape
        assert 0 <= found.min() <= found.max() <= 1
        assert torch.equal(image, before)
        assert shares.shape == (8,)
        assert ((shares >= 0) & (shares <= 1)).all()

    @pytest.mark.parametrize("op", MIXERS)
    def test_with_probability_0_is_off(self, op):
        image, _, mixing, found, shares = mixed({"op": op, "p": 0})
        assert (mixing.chosen == -1).all()
        assert torch.equal(found, image)
        assert (shares == 1).all()


def test_at_most_one_acts_on_an_image_the_first_that_was_drawn():
    policy = of({"op": "cutmix", "p": 0.5}, {"op": "mixup"})
    own = table(policy, 400)
    mixing = policy.mixing(own, np.zeros(400, np.int64))
    assert mixing.chosen.tolist() == np.where(own[:, 0] < 0.5, 0, 1).tolist()
