"""README and docs as text: their blocks of code, and the commands in these."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def named(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page, *languages):
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def shell_lines(page):
    """The commands of a page, without prompts, each with the error that it is said to end with."""
    for text in blocks(page, "bash"):
        for line in text.replace("\\\n", " ").replace("|\n", "| ").splitlines():
            yield line, None
    for text in blocks(page, "console"):
        for part in text.split("$ ")[1:]:
            line, _, output = part.partition("\n")
            yield line, output.strip() if output.startswith("error: ") else None


def programs(line):
    """Each program of a line of shell with its words, those of a quoted command line, too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&()")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words, found = [], []
    for word in [*lexer, ";"]:
        if set(word) <= set("|;&()"):
            found += [words] if words else []
            words = []
        elif "=" in word.split("/")[0] and not words:  # a variable of the program's
            continue
        else:
            words.append(word)
            if re.search(r"(?:^| )(python -m|crossfold) ", word):
                found += programs(word)
    return found


def prose(page):
    """What is not in blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))
