"""What mkdocs does beside rendering ``docs/``: pages made from the code, pages from elsewhere.

The reference of settings, commands and recipes is written from the models that check them, so it
cannot say anything else. The project's own papers (``PAPERS``) are shown where they lie. A link to
a file of the repository that the site does not show becomes its name.
"""

import inspect
import io
import os
import re
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from folds import cli
from folds.config import Config, groups, recipes
from folds.crossfold import COMMANDS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAPERS = (
    "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LOG.md", "benchmarks/RESULTS.md",
    "benchmarks/ROBUST.md", "benchmarks/SERVING.md", "benchmarks/AUGMENT.md",
    "benchmarks/SCALING.md", "benchmarks/RESULTS.png", "benchmarks/scaling.png",
)  # fmt: skip
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_WIDTH = "84"  # of a help text, in columns


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are not in ``docs/``."""
    from mkdocs.structure.files import File

    made = {"settings": settings(), "commands": commands(), "recipes": all_recipes()}
    for name, text in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for paper in PAPERS:
        source = str(ROOT / paper)
        files.append(File.generated(config, f"project/{paper}", abs_src_path=source))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: Any) -> str:
    """Let links lead to where the site has what they name."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, page: str) -> str:
    """The text of a page of the site, its links to files of the repository mended.

    Parameters
    ----------
    markdown : str
        As it lies in the repository.
    page : str
        The page in the site, such as ``how-to/groups.md``.
    """
    paper = page.removeprefix("project/") if page.startswith("project/") else None
    place = Path(paper if paper is not None else f"docs/{page}").parent

    def mended(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        there = os.path.normpath(place / target)
        if there in PAPERS:
            site = f"project/{there}"
        elif there.startswith("docs/"):
            site = there.removeprefix("docs/")
        else:
            return link["text"]
        found = os.path.relpath(site, Path(page).parent) + (f"#{anchor}" if anchor else "")
        return f"[{link['text']}]({found})"

    return _LINK.sub(mended, markdown)


def settings() -> str:
    """The page of all settings, by their groups."""
    lines = [
        "# Settings", "",
        "Every setting of a run: a flag of `crossfold cv` and `crossfold tune`, and a line of the",
        "file of `--config` by the same name with `_` for `-`. A wrong value is refused before",
        "anything is loaded:", "",
        "```console", "$ crossfold cv --folds 1",
        "error: --folds 1: must be greater than or equal to 2", "```", "",
    ]  # fmt: skip
    defaults = Config()
    for name, model in groups().items():
        lines += [f"## {name.capitalize()}", "", (model.__doc__ or "").strip(), ""]
        for field, info in model.model_fields.items():
            value = getattr(getattr(defaults, name), field)
            kinds = _kinds(info.annotation)
            choice = f" One of {', '.join(f'`{kind}`' for kind in kinds)}." if kinds else ""
            lines += [
                f"### --{field.replace('_', '-')}", "",
                f"Default {_shown(value)}.{choice}", "",
                _escaped(info.description or ""), "",
            ]  # fmt: skip
    return "\n".join(lines)


def commands() -> str:
    """The page of all commands: what each says by ``--help``."""
    lines = [
        "# Commands", "",
        "`crossfold COMMAND` and `python -m MODULE` are the same. Exit status: 0; 1 where a run",
        "failed or a promotion was refused; 2 for bad input, with one line that says what to do;",
        "130, 143 and 129 where it was ended by Ctrl-C, SIGTERM or a closed terminal.", "",
    ]  # fmt: skip
    for name, (module, about) in COMMANDS.items():
        found = import_module(module)
        lines += [f"## crossfold {name}", "", f"`python -m {module}`: {about}.", ""]
        lines += [_escaped(inspect.cleandoc(found.__doc__ or "").partition("\n")[2]).strip(), ""]
        if hasattr(found, "Command"):
            lines += ["It takes all [settings](settings.md), and:", ""]
        lines += ["```text", _help(name, found), "```", ""]
    return "\n".join(lines)


def all_recipes() -> str:
    """The page of all recipes, each as its file."""
    lines = [
        "# Recipes", "",
        "Whole configurations by name; flags and `--config` override what they say:", "",
        "```bash", "crossfold cv --recipe strong --data images/ --folds 5", "```", "",
    ]  # fmt: skip
    for name in recipes.names():
        text = (resources("recipes") / f"{name}.yaml").read_text("utf-8")
        lines += [f"## {name}", "", "```yaml", text.rstrip(), "```", ""]
    return "\n".join(lines)


def _kinds(annotation: Any) -> list[str]:
    """The words that a setting may be, where words are all that it may be."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return []


def _shown(value: object) -> str:
    if value is None or value in ((), "") or value == {}:
        return "none"
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    return f"`{value}`" if not isinstance(value, bool) else ("on" if value else "off")


def _escaped(text: str) -> str:
    """A help text as Markdown that shows the same characters."""
    return re.sub(r"([*_<>\[\]|\\`])", r"\\\1", text)


def _help(name: str, module: Any) -> str:
    """What ``crossfold NAME --help`` prints of the command's own flags."""
    options = getattr(module, "Command", None) or module.Options
    os.environ["COLUMNS"] = _WIDTH
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        cli.parse(options, ["--help"], prog=f"crossfold {name}", description="")
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
