"""README and docs: every command parses, every link leads somewhere, the reference is whole."""

import ast
import contextlib
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from distributed import command
from distributed.search.options import read_space
from folds import cli
from folds.config import groups, read_yaml, recipes
from folds.crossfold import COMMANDS
from folds.errors import UserError
from tests.pages import PAGES, ROOT, blocks, named, programs, prose, shell_lines

GENERATED = {
    "docs/reference/settings.md",
    "docs/reference/commands.md",
    "docs/reference/recipes.md",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# programs of others, whose flags are not looked at
OTHERS = frozenset({
    "aws", "base64", "cd", "cmp", "curl", "docker", "echo", "export", "git", "kubectl", "pip",
    "pre-commit", "printf", "sbatch", "sed", "source", "tail",
})  # fmt: skip
CLICKED = {"mlflow": "mlflow.cli", "ray": "ray.scripts.scripts"}
THEIR_FLAGS = frozenset({"--autoscaling-config", "--extra-index-url", "--minutes"})


ALL = sorted({
    (named(page), " ".join(shlex.quote(word) for word in words), error or "")
    for page in PAGES for line, error in shell_lines(page) for words in programs(line)
})  # fmt: skip


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder with the YAML files that pages show under a name."""
    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for text in blocks(page, "yaml"):
            if name := re.match(r"# (\w+\.yaml)\b", text):
                Path(name[1]).write_text(text)
    return tmp_path


def check_settings(module, words):
    """Have the parser and the checks of a command that trains read its words."""
    words = command.expanded(words)
    if command.value_of(words, "--recipe") == "list":
        return
    if "--resume" in words:  # a run of somebody's
        place = words.index("--resume")
        del words[place : place + 2]
    config = command.value_of(words, "--config")
    if config is not None and not Path(config).exists():
        words[words.index(config)] = "empty.yaml"
        Path("empty.yaml").write_text("")
    if (space := command.value_of(words, "--space")) is not None:
        read_space(space)
    defaults, _ = command.first_settings(words, "run")
    cli.config_parser(defaults, module.Command, words, prog="docs", description="")


def check_module(name, words):
    assert importlib.util.find_spec(name), f"there is no {name}"
    if name.split(".")[0] not in ("folds", "tracking", "distributed", "benchmarks"):
        return
    module = importlib.import_module(name)
    if hasattr(module, "Command"):
        check_settings(module, words)
    elif hasattr(module, "Options"):
        cli.parse(module.Options, words, prog="docs", description="")
    else:
        module.parser().parse_args(words)


def check_clicked(program, words):
    """Have click read the words of a command of MLflow or Ray."""
    while isinstance(program, click.Group):
        name, *words = words
        program = program.get_command(click.Context(program), name)
    program.make_context(program.name, list(words))


def check_program(program, words):
    if Path(program).name == "python" and words[:1] == ["-m"]:
        check_module(words[1], words[2:])
    elif program == "crossfold" and words[0] == "--print-completion":
        assert words[1] in cli.SHELLS
    elif program == "crossfold":
        check_module(COMMANDS[words[0]][0], words[1:])
    elif program in CLICKED:
        check_clicked(importlib.import_module(CLICKED[program]).cli, words)
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    else:
        assert program in OTHERS


@pytest.mark.parametrize(
    ("line", "error"), [one[1:] for one in ALL], ids=[f"{page}: {line}" for page, line, _ in ALL]
)
def test_every_command_parses(there, capsys, line, error):
    program, *words = shlex.split(line)
    with pytest.raises(UserError) if error else contextlib.nullcontext() as raised:
        try:
            check_program(program, [word for word in words if word != "--help"])
        except SystemExit as end:
            if end.code:
                pytest.fail(capsys.readouterr().err)
    assert not error or f"error: {raised.value}" == error


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_text_exist(page):
    text = prose(page)
    for module in re.findall(r"`python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    assert set(re.findall(r"`crossfold ([a-z]+)", text)) <= set(COMMANDS)
    for target in re.findall(r"`make ([a-z-]+)", text):
        check_program("make", [target])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_flags_of_cluster_starts_are_those_of_cv(there, page):
    starts = r"(?:slurm\.sbatch|crossfold-start) (--.*)"
    for line in (line for text in blocks(page, "bash") for line in text.splitlines()):
        if found := re.search(starts, line):
            check_module("distributed.cv", shlex.split(found[1]))


@pytest.fixture(scope="module")
def known():
    """Flags that some command has."""
    flags = {field for model in groups().values() for field in model.model_fields}
    for name, _ in COMMANDS.values():
        module = importlib.import_module(name)
        options = module.Command if hasattr(module, "Command") else module.Options
        flags |= set(options.__dataclass_fields__)
    flags = {f"--{flag.replace('_', '-')}" for flag in flags}
    modules = ("robust", "leak", "growth", "unsure", "junk", "run", "serving")
    for module in (importlib.import_module(f"benchmarks.{name}") for name in modules):
        flags |= {word for action in module.parser()._actions for word in action.option_strings}
    return flags | THEIR_FLAGS | {"--help", "--version", "--print-completion"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_flag_in_the_text_is_known(known, page):
    code = re.findall(r"`([^`]+)`", prose(page))
    programs = ("ray ", "mlflow ", "pip ", "kubectl ", "docker ")
    flags = {
        flag for text in code if not text.startswith(programs)
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)
    }  # fmt: skip
    assert not flags - known


def check_imports(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("folds", "tracking"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_extras_and_code_are_what_they_say(page):
    text = page.read_text(encoding="utf-8")
    extras = {name for found in re.findall(r"(?:crossfold|\.)\[([\w,]+)\]['\"]", text)
              for name in found.split(",")}  # fmt: skip
    assert extras <= set(PROJECT["optional-dependencies"])
    for code in blocks(page, "python"):
        check_imports(code)


@pytest.mark.parametrize("name", ["folds", "runs"])
def test_notebooks_import_what_there_is_and_are_kept_as_they_ran(name):
    notebook = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(out["output_type"] == "error" for cell in cells for out in cell["outputs"])
    for cell in cells:
        check_imports("".join(cell["source"]))


@pytest.mark.parametrize("name", ["run.yaml", "policy.yaml", "costs.yaml"])
def test_files_that_commands_name_are_shown(there, name):
    assert (there / name).exists()
    if name == "run.yaml":
        assert read_yaml(name)["backbone"]


def slug(heading):
    plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    text = prose(page)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r'(?:src|href)="([^"]+)"', text
    ):
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if there.is_relative_to(ROOT) and there.relative_to(ROOT).as_posix() in GENERATED:
            continue
        assert there.exists(), target
        if anchor:
            content = prose(there)
            assert anchor in {slug(line) for line in re.findall(r"^#+ (.*)", content, re.MULTILINE)}


def test_recipes_that_a_page_lists_are_listed_so():
    (text,) = [text for text in blocks(ROOT / "docs/how-to/training.md", "console")
               if text.startswith("$ crossfold cv --recipe list\n")]  # fmt: skip
    shown = text.splitlines()[1:]
    assert shown
    assert set(shown) <= set(recipes.listing().splitlines())


def test_the_reference_of_python_names_what_there_is():
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    for part in text.split("\n::: ")[1:]:
        module = importlib.import_module(part.split()[0])
        members = re.search(r"members: \[(.*)\]", part)
        names = members[1].split(", ") if members else []
        assert all(hasattr(module, name) for name in names), names


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestReference:
    def test_every_setting_has_its_heading_its_default_and_its_help(self, hooks):
        text = hooks.settings()
        for model in groups().values():
            for name, info in model.model_fields.items():
                part = text.partition(f"### --{name.replace('_', '-')}\n")[2].partition("###")[0]
                assert part.startswith("\nDefault ")
                assert hooks._escaped(info.description) in part

    def test_every_command_is_told_as_it_tells_itself(self, hooks):
        text = hooks.commands()
        for name in COMMANDS:
            part = text.partition(f"## crossfold {name}\n")[2].partition("\n## ")[0]
            assert f"usage: crossfold {name}" in part
        assert "--abstain" in text
        assert "--batch-size" not in text

    def test_every_recipe_is_shown_whole(self, hooks):
        text = hooks.all_recipes()
        assert all(f"## {name}\n" in text for name in recipes.names())
        assert "backbone: test_byobnet" in text

    @pytest.mark.parametrize(
        ("page", "link", "becomes"),
        [
            ("how-to/a.md", "[log](../../LOG.md#x)", "[log](../project/LOG.md#x)"),
            ("how-to/a.md", "[code](../../folds/prepare.py)", "code"),
            ("how-to/a.md", "[b](b.md)", "[b](b.md)"),
            ("project/CONTRIBUTING.md", "[log](LOG.md)", "[log](LOG.md)"),
            ("project/benchmarks/RESULTS.md", "![p](RESULTS.png)", "![p](RESULTS.png)"),
            ("project/LOG.md", "[u](docs/how-to/b.md)", "[u](../how-to/b.md)"),
            ("index.md", "[x](https://example.org)", "[x](https://example.org)"),
        ],
    )
    def test_links_lead_to_where_the_site_has_it(self, hooks, page, link, becomes):
        assert hooks.relinked(link, page) == becomes


def test_the_site_is_built_without_a_warning_and_asks_nobody_else(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or not importlib.util.find_spec("mkdocstrings"):
        pytest.skip("crossfold[docs] is not there: make docs")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path)
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(GENERATED) + 25
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', text), page
