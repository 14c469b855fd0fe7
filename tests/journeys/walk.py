"""Runs `ndl` commands one after the other in this process; prints each one's exit code and output as JSON.

python walk.py COMMANDS.json     [[person, argument, argument, ...], ...]
"""

import json
import sys
import traceback
from pathlib import Path

from click.testing import CliRunner

from sandbox.cli import cli
from sandbox.errors import NDLError

for person, *arguments in json.loads(Path(sys.argv[1]).read_text()):
    result = CliRunner().invoke(cli, ["--as", person, *arguments] if person else arguments)
    error = result.exception
    code, words = result.exit_code, result.output
    if isinstance(error, NDLError):
        code, words = error.exit_code, words + str(error)
    elif error is not None and not isinstance(error, SystemExit):
        words += "".join(traceback.format_exception(error))
    elif isinstance(result.return_value, int) and code == 0:
        code = result.return_value
    print(json.dumps({"command": arguments, "code": code, "words": words}), flush=True)
