"""The command line's fixtures, for the commands of this room."""

from __future__ import annotations

from tests.cli.conftest import icnet, quiet_surroundings, refused

__all__ = ["icnet", "quiet_surroundings", "refused"]
