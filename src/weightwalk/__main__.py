"""``python -m weightwalk``: the same as the command ``weightwalk``."""

from weightwalk.cli import main

if __name__ == "__main__":
    main(prog_name="weightwalk")
