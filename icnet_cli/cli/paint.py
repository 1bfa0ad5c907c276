"""`icnet paint`."""

from __future__ import annotations

from icnet_cli.cli.console import LoopConsole
from icnet_cli.cli.progress import watch
from icnet_cli.cli.segment import check_stdout, note_what_stays, status, tell
from icnet_cli.config import PaintConfig


def paint(config: PaintConfig, console: LoopConsole) -> None:
    """Paint a label video over its video again, without the network.

    \b
    Examples:
      icnet segment street.mp4 -o labels.mkv --view labels
      icnet paint labels.mkv street.mp4 -o out.mp4 --alpha 0.3 --legend
      icnet paint labels.mkv street.mp4 -o people.mp4 --only pedestrian,bicyclist
      icnet paint labels.mkv street.mp4 -o hidden.mp4 --blur pedestrian
    """
    from icnet_cli.pipeline.paint import DamagedInputError
    from icnet_cli.pipeline.paint import paint as run

    check_stdout(config.output, console)
    try:
        report = watch(run(config), console.progress, status)
    except DamagedInputError as error:
        tell(error.report, console)
        raise
    except BaseException as error:
        note_what_stays(config.output, error)
        raise
    tell(report, console)
