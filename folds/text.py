"""Text of others, such as names of files and classes, so that nothing obeys it."""

# what a terminal or a page would obey instead of show: control characters, ends of lines, marks
# that turn the direction of writing, and surrogates (bytes that could not be decoded)
_OBEYED = (
    *range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200E, 0x2010), *range(0x2028, 0x202F),
    *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFEFF, *range(0xE0000, 0xE0080),
)  # fmt: skip
_NAMES = {9: r"\t", 10: r"\n", 13: r"\r"}
_LINE = {code: _NAMES.get(code) or ascii(chr(code))[1:-1] for code in _OBEYED}
_LINES = {code: text for code, text in _LINE.items() if code not in (9, 10)}


def shown(text: str) -> str:
    r"""A text with all that a terminal or a page would obey written as Python writes it.

    Notes
    -----
    Ends of lines and tabs stay. Doing it twice changes nothing more.

    Examples
    --------
    >>> shown("red\x1b[31m")
    'red\\x1b[31m'
    """
    return text.translate(_LINES)


def one_line(text: str) -> str:
    """As `shown`, with ends of lines and tabs written out, too."""
    return text.translate(_LINE)


def shortened(text: str, most: int = 300) -> str:
    """The beginning and the end of a text that is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 5]} ... {text[-end:]}"
