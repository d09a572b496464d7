"""A command run in-process: what it prints, the code it leaves with, and never a traceback."""

from __future__ import annotations

from click.testing import CliRunner, Result

from weightwalk.cli import main


def run(*words: str) -> Result:
    result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def good(*words: str, code: int = 0) -> str:
    result = run(*words)
    assert result.exit_code == code, result.output
    return result.stdout


def bad(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert not result.stdout
    assert sum(line.startswith("Error: ") for line in result.stderr.splitlines()) == 1
    return result.stderr
