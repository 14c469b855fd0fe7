"""The `ndl` command: finds the verbs of every package and turns refusals into exit codes.

Verbs are entry points of the group `ndl.commands`, loaded when called, so `ndl --help` stays quick
and a package above this one can add verbs without being imported here.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click

from sandbox.errors import NDLError

EXIT_CODES = """
\b
Exit codes: 0 done; 1 unexpected failure; 2 something you wrote is wrong; 3 a rule says no;
4 not found; 5 a wave was quarantined; 6 this machine lacks something.
"""


class Verbs(click.Group):
    """A group whose commands are entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_verbs())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        verb = _verbs().get(name)
        if verb is None:
            return None
        command = verb.load()
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Verbs, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file (else NDL_CONFIG, ./ndl.toml)."
)
@click.option("--as", "person", default="", metavar="NAME", help="Who is acting (else NDL_AS, your login).")
@click.version_option(package_name="ndl-sandbox", prog_name="ndl")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, person: str) -> None:
    """Host AI models on public-sector records without handing out a record."""
    if ctx.obj is None:
        from sandbox.api import Sandbox

        ctx.obj = Sandbox.open(config, person)


def main() -> None:
    """Runs `ndl`; a refusal is printed in plain words and ends with its exit code."""
    try:
        outcome: Any = cli.main(standalone_mode=False)
        sys.exit(outcome if isinstance(outcome, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except NDLError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


def _verbs() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="ndl.commands")}


if __name__ == "__main__":
    main()
