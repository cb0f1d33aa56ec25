"""Entry point of the command ``vlm-adapters``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say in one line what is missing if its packages are."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == __package__:
            raise
        print(
            f"`vlm-adapters` should find the `vlm` extra. Got no module named `{error.name}`. "
            'Run `pip install "topreg[vlm]"`.',
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:  # during the imports
        print("Error: Interrupted.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
