"""What a person sees is what is decoded, whatever the encoding."""

import contextlib
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from folds.images.decode import UndecidedError, UnreadableError, decode, header
from tests.folds.images.encodings import encoded, marked, png16, tiff, turned

RNG = np.random.default_rng(0)


def pixels(content, levels=None):
    return np.asarray(decode(io.BytesIO(content), levels))


def close(found, seen, most=0.5001):
    assert np.abs(found - np.broadcast_to(seen, found.shape)).max() <= most


def values(kind, channels=1, top=None):
    top = np.iinfo(kind).max if top is None else top
    return RNG.integers(0, top, (7, 5, channels), dtype=kind, endpoint=True)


class TestDepth:
    def test_a_16_bit_ramp_of_64_pixels_has_64_levels(self):
        ramp = np.broadcast_to(np.linspace(0, 65535, 64).astype(np.uint16)[:, None], (64, 64, 1))
        for content in (png16(ramp), tiff(ramp), tiff(ramp, big=True), encoded(
            Image.fromarray(np.ascontiguousarray(ramp[..., 0])), "TIFF", compression="tiff_lzw"
        )):  # fmt: skip
            found = pixels(content)
            assert len(np.unique(found)) == 64
            assert (found.min(), found.max()) == (0, 255)

    @pytest.mark.parametrize("write", [png16, tiff])
    def test_8_bits_stored_in_16_are_the_8_bits(self, write):
        grey = np.asarray(marked().convert("L"))[..., None]
        assert (pixels(write(grey.astype(np.uint16) * 257)) == grey).all()

    def test_12_bits_are_dark_with_their_structure_and_full_with_levels(self):
        grey = values(np.uint16, top=4095)
        dark, full = pixels(tiff(grey)), pixels(tiff(grey), 4095)
        assert dark.max() <= 16
        assert len(np.unique(dark)) > 8
        close(full, grey * (255 / 4095))

    def test_equal_values_are_equal_pixels_whatever_else_the_image_holds(self):
        one, other = np.full((4, 4, 1), 900, np.uint16), np.full((4, 4, 1), 900, np.uint16)
        other[0, 0] = 60000
        for levels in (None, 4095):
            assert (pixels(png16(one), levels)[1:] == pixels(png16(other), levels)[1:]).all()

    @pytest.mark.parametrize("levels", [None, 4095])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_16_bit_png_of_any_channels(self, channels, levels):
        found = values(np.uint16, channels, levels)
        seen = self.on_white(found, levels, alpha=channels in (2, 4))
        close(pixels(png16(found), levels), seen)

    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("planar", [False, True])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_16_bit_tiff_in_colour(self, channels, planar, big):
        found = values(np.uint16, channels, 4095)
        content = tiff(found, planar=planar, big=big, alpha=2 if channels == 4 else None)
        close(pixels(content, 4095), self.on_white(found, 4095, alpha=channels == 4))

    @staticmethod
    def on_white(found, levels, *, alpha):
        top = levels or 65535
        if not alpha:
            return found * (255 / top)
        share = found[..., -1:] / 65535
        return found[..., :-1] * (255 / top) * share + 255 * (1 - share)

    def test_where_white_is_zero(self):
        grey = values(np.uint16)
        close(pixels(tiff(grey, photometric=0)), 255 - grey / 257)

    def test_floats_run_from_0_to_1(self):
        grey = RNG.random((7, 5, 1), dtype=np.float32)
        close(pixels(tiff(grey)), grey * 255)
        close(pixels(tiff(grey * 80), levels=80), grey * 255)

    @pytest.mark.parametrize(("kind", "top"), [(np.int16, 2**15 - 1), (np.int8, 127)])
    def test_signed_integers_run_to_their_greatest(self, kind, top):
        grey = values(kind)
        close(pixels(tiff(grey)), grey.astype(float) * 255 / top)

    @pytest.mark.parametrize("kind", [np.uint32, np.int32])
    def test_32_bits_ask_for_levels(self, kind):
        grey = values(kind)
        with pytest.raises(UndecidedError, match="has 32-bit integers, which do not say") as why:
            pixels(tiff(grey))
        assert "--levels" in why.value.remedy
        close(pixels(tiff(grey), levels=float(np.iinfo(kind).max)),
              grey.astype(float) * 255 / np.iinfo(kind).max)  # fmt: skip

    @pytest.mark.parametrize(
        ("found", "levels", "reason"),
        [
            ([0, 4095.0], None, "floating-point numbers above 1 (4095)"),
            ([0, np.nan], 1, "values that are no numbers"),
            ([0, np.inf], 1, "values that are no numbers"),
            ([-3.0, 1], 1, "values below 0 (-3)"),
        ],
    )
    def test_what_nobody_can_decide_is_refused(self, found, levels, reason):
        grey = np.broadcast_to(np.float32(found)[:, None, None], (2, 3, 1))
        with pytest.raises(UndecidedError, match=re.escape(reason)):
            pixels(tiff(grey), levels)

    def test_negative_integers_are_refused(self):
        with pytest.raises(UndecidedError, match=r"values below 0 \(-1000\)"):
            pixels(tiff(np.full((3, 3, 1), -1000, np.int16)), 4095)

    def test_levels_leave_8_bits_alone(self):
        for kind in ("PNG", "BMP", "TIFF", "WEBP"):
            content = encoded(marked(), kind, **({"lossless": True} if kind == "WEBP" else {}))
            assert (pixels(content, 4095) == np.asarray(marked())).all()
            assert header(io.BytesIO(content)).white is None

    def test_a_transparent_value_is_white(self):
        grey = np.full((4, 4), 5000, np.uint16)
        grey[1:] = 800
        content = encoded(Image.fromarray(grey), "PNG", transparency=800)
        assert (pixels(content)[1:] == 255).all()
        assert (pixels(content)[0] == round(5000 / 257)).all()


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_images_are_upright(self, kind, orientation, tmp_path):
        image = marked().crop((0, 0, 32, 20))
        lossy = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}
        content = turned(image, orientation, kind, **lossy.get(kind, {}))
        close(pixels(content).astype(int), np.asarray(image).astype(int), 12 * (kind == "JPEG"))
        assert header(io.BytesIO(content)).size == (32, 20)
        # Pillow maps uncompressed files into memory, and turns these in another way
        (tmp_path / "file").write_bytes(content)
        assert (np.asarray(decode(tmp_path / "file")) == pixels(content)).all()

    @pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"nonsense"])
    def test_damaged_exif_turns_nothing(self, exif):
        content = encoded(marked(), "JPEG", exif=exif, quality=97, subsampling=0)
        close(pixels(content).astype(int), np.asarray(marked()).astype(int), 12)


class TestAlpha:
    def cut_away(self):
        alpha = np.full((32, 32), 255, np.uint8)
        alpha[:, :12] = 0  # but the colours are still in the file
        seen = np.array(marked())
        seen[:, :12] = 255
        return Image.fromarray(np.dstack([marked(), alpha])), seen

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_what_was_cut_away_is_white(self, kind):
        image, seen = self.cut_away()
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        assert (pixels(encoded(image, kind, **options)) == seen).all()

    def test_grey_with_alpha(self):
        image, _ = self.cut_away()
        found = pixels(encoded(image.convert("LA")))
        assert (found[:, :12] == 255).all()
        assert (found[:, 12:] == np.asarray(marked().convert("L"))[:, 12:, None]).all()

    def test_transparent_palette_and_colour(self):
        image = marked().quantize(16)
        first = image.getpixel((0, 0))
        found = pixels(encoded(image, transparency=first))
        clear = np.asarray(image) == first
        assert (found[clear] == 255).all()
        assert (found[~clear] == np.asarray(image.convert("RGB"))[~clear]).all()
        found = pixels(encoded(marked(), transparency=(250, 240, 20)))
        assert (found[2:6, 2:10] == 255).all()

    def test_half_transparent_is_half_white(self):
        image = Image.new("RGBA", (4, 4), (0, 100, 200, 128))
        close(pixels(encoded(image)), np.array([0, 100, 200]) * 128 / 255 + 127, 1)


class TestColours:
    def test_cmyk_is_as_it_was_printed(self):
        close(pixels(encoded(marked().convert("CMYK"), "TIFF")), np.asarray(marked()), 1)
        content = encoded(marked().convert("CMYK"), "JPEG", quality=97)  # inverted, as Adobe does
        close(pixels(content).astype(int), np.asarray(marked()).astype(int), 40)

    def test_one_bit_is_black_and_white(self):
        image = marked().convert("1")
        assert (pixels(encoded(image)) == np.asarray(image.convert("L"))[..., None]).all()


class TestPages:
    @pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
    def test_the_first_of_several_is_read_and_the_header_says_so(self, kind):
        options = {"lossless": True} if kind == "WEBP" else {}
        others = [marked().rotate(90), marked().rotate(180)]
        content = encoded(marked(), kind, save_all=True, append_images=others, **options)
        assert (pixels(content) == np.asarray(marked())).all()
        assert header(io.BytesIO(content)).several
        assert not header(io.BytesIO(encoded(marked(), kind, **options))).several

    def test_the_gain_map_of_a_photograph_is_no_page(self):
        content = encoded(marked(), "MPO", save_all=True, append_images=[marked()])
        assert not header(io.BytesIO(content)).several
        assert pixels(content).shape == (32, 32, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
class TestDamaged:
    @given(st.data())
    @settings(max_examples=150)
    def test_any_damage_is_one_error(self, data):
        rng = np.random.default_rng(1)
        colour = rng.integers(0, 2**16, (6, 6, 4)).astype(np.uint16)
        content = bytearray(data.draw(st.sampled_from([
            encoded(marked()), encoded(marked(), "TIFF", compression="tiff_lzw"),
            turned(marked(), 6), png16(colour), tiff(colour, alpha=2), tiff(colour[..., :1]),
            encoded(marked(), "WEBP"), encoded(marked(), "BMP"),
        ])))  # fmt: skip
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
            content[place] = data.draw(st.integers(0, 255))
        content = bytes(content[: data.draw(st.integers(0, len(content)))])
        header(io.BytesIO(content))
        with contextlib.suppress(UnreadableError):
            assert pixels(content).shape[2] == 3

    def test_what_is_executed_is_refused(self):
        with pytest.raises(UnreadableError, match="damaged, or none of JPEG"):
            pixels(encoded(marked(), "EPS"))


def test_the_shared_cases_are_as_a_person_sees_them(shared, tmp_path):
    """The cases 01 to 04, if their maker is there."""
    import runpy

    maker = shared / "cases" / "make_cases.py"
    if not maker.is_file():
        pytest.skip("no ../shared/cases/make_cases.py")
    runpy.run_path(str(maker))["encodings"](tmp_path)
    with np.load(tmp_path / "truth.npz") as truth:
        for name in truth.files:
            found = np.asarray(decode(tmp_path / name)).astype(int)
            close(found, truth[name].astype(int), 12 if name.endswith("jpg") else 0)
