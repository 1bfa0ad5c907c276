"""`icnet` and `python -m icnet_cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line's entry: settings of the process, then the command."""
    from icnet_cli.cli.app import run
    from icnet_cli.inference import allocator, cores

    # Before torch loads and allocates; never by importing the package, which is a guest in its process.
    allocator.keep_freed_memory()
    cores.limit_threads()
    sys.exit(run())


if __name__ == "__main__":
    main()
