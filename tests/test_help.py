"""Every command shows an example that the command line accepts, and a shell completes commands, options and assets."""

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.examples import EXAMPLES, commands_below
from pipeline.commands.overview import SECTIONS

COMMANDS = dict(commands_below(main))
LINES = [(words, line) for words, lines in EXAMPLES.items() for line in lines]


def test_every_command_has_an_example_and_every_example_a_command():
    assert COMMANDS.keys() == EXAMPLES.keys()


def test_the_help_names_every_command_once_by_what_it_is_for_in_a_line_of_80_columns():
    named = [name for section in SECTIONS.values() for name in section]
    assert sorted(named) == sorted(main.commands)
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    for section in SECTIONS.values():
        for name, words in section.items():
            (line,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
            assert line.endswith(words) and len(line) <= 80


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_help_shows_the_examples_as_they_are_written(words):
    shown = CliRunner().invoke(main, [*words.split(), "--help"], terminal_width=120).output
    for line in EXAMPLES[words]:
        assert f"  {line}\n" in shown


@pytest.mark.parametrize(("words", "line"), LINES)
def test_an_example_is_what_the_command_takes(words, line):
    program, *given = (
        shlex.split(line.split(" > ")[0], comments=True)
        if not line.startswith("eval ")
        else ["slm", "completion", "bash"]
    )
    assert program == "slm"
    command: click.Command = main
    while isinstance(command, click.Group):
        context = click.Context(command)
        _, given, _ = command.make_parser(context).parse_args(given)
        if not given:
            break  # a group alone, such as `slm sources`
        command, given = command.commands[given[0]], given[1:]
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(given)
    assert rest == []
    assert COMMANDS[words] is command or isinstance(COMMANDS[words], click.Group), f"{line}: another command"
    for parameter in command.params:
        if parameter.required:
            assert values.get(parameter.name) not in (None, ()), f"{line}: {parameter.name}"


def completed(*words: str) -> list[str]:
    return [
        item.value
        for item in BashComplete(main, {}, "slm", "_SLM_COMPLETE").get_completions(list(words[:-1]), words[-1])
    ]


def test_a_shell_completes_commands_options_and_assets(tmp_path, monkeypatch):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nsources: [{name: a, kind: files, path: texts}]\n")
    assert completed("doc") == ["documents"] and "--reason" in completed("documents", "--re")
    assert completed("--recipe", str(recipe), "why", "pretrained") == ["pretrained_model", "pretrained_evaluation"]
    monkeypatch.setenv("SLM_RECIPE", "nowhere.yaml")
    assert completed("make", "tok") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0 and "_SLM_COMPLETE" in result.output


def test_the_script_for_bash_works_in_bash(tmp_path):
    slm = tmp_path / "slm"
    slm.write_text(f"#!{sys.executable}\nfrom pipeline.cli import main\n\nmain()\n")  # as pip installs it
    slm.chmod(0o755)
    script = (
        'eval "$(slm completion bash)"; COMP_WORDS=(slm doc); COMP_CWORD=1; _slm_completion slm; echo "${COMPREPLY[@]}"'
    )
    root = Path(__file__).resolve().parent.parent
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(root)}
    done = subprocess.run(["bash", "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout == "documents\n", done.stderr
