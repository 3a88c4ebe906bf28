import re

from matplotlib.figure import Figure

from folds.pages.svg import INK, PAPER, embed, style


def drawn(name, text=""):
    with style():
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], "o-", color=INK, mec=PAPER)
        axes.set_title('1.23456 <b> xmlns="x"')
        return embed(figure, name, text)


def test_texts_are_kept_and_numbers_shortened():
    found = drawn("a")
    assert '1.23456 &lt;b&gt; xmlns="x"' in found
    assert max(map(len, re.findall(r"\d\.(\d+)", re.sub(r">[^<]*<", "><", found)))) == 2


def test_it_takes_the_colours_of_the_page():
    found = drawn("a")
    assert INK not in found
    assert PAPER not in found
    assert "currentColor" in found
    assert "var(--card)" in found


def test_ids_are_unique_in_a_page_and_all_are_asked_for():
    one, other = (set(re.findall(r'\bid="([^"]*)"', drawn(name))) for name in "ab")
    assert one
    assert not one & other
    asked = re.findall(r'#([^")]*)', drawn("a"))
    assert set(asked) <= one


def test_what_it_shows_is_told():
    assert 'role="img" aria-label="&lt;b&gt; of &#34;x&#34;"' in drawn("a", '<b> of "x"')
    assert "aria-label" not in drawn("a")
