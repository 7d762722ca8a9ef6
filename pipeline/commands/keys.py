"""One key from a person at a terminal; a line from everything else."""

from __future__ import annotations

import os
import sys
import termios
import tty

import click

LONGEST = 32  # bytes that one press sends at most, such as an arrow's


def key(prompt: str) -> str:
    """The character that was typed after the prompt, without Enter where there is a terminal; "" at the end of input.

    The terminal is set to single keys before the prompt appears, so that no key is lost. Ctrl-C and Ctrl-D end the
    input. Of several characters at once (an arrow, something pasted) nothing is taken: the answer is then `?`.
    """
    if not sys.stdin.isatty():
        click.echo(prompt, nl=False)
        line = sys.stdin.readline()
        click.echo()
        return line.strip()[:1].lower() or ("?" if line else "")
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        click.echo(prompt, nl=False)
        typed = os.read(terminal, LONGEST).decode(errors="replace")
    except KeyboardInterrupt:
        typed = ""
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    return "" if typed in ("", "\x04") else typed.lower() if len(typed) == 1 else "?"
