"""``python -m topreg warm-up`` compiles everything once."""

import argparse

from topreg import warm_up


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m topreg", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser(
        "warm-up", help="compile all loops of the library once and keep the code on disk"
    )
    parser.parse_args()
    warm_up(lambda step, seconds: print(f"{seconds:6.1f} s  {step}", flush=True))


if __name__ == "__main__":
    main()
