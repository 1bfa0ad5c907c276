"""From a picture and its labels to what is written: the same for `segment` and `paint`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.header import classes_of
from icnet_cli.classes import ClassTable
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import usage_error
from icnet_cli.pixels.blur import Blur
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.yuv import YuvColour

from .items import Labels, Picture
from .palette import recolour
from .sinks import Rendered
from .sources import PictureSource, VideoSource

_NEAR = 0.5  # how alike a name is to be suggested: "person" and "pedestrian" are just so


def check_names(config: SegmentConfig, palette: ClassTable | None) -> None:
    """Refuse at once what would be refused once the weights are loaded: no such weights, classes or colours for them.

    An exported file says its classes only when it is loaded.
    """
    classes = classes_of(find_weights(config.weights))
    if classes is not None:
        choose_classes(classes, config.only, "--only")
        choose_classes(classes, config.blur, "--blur")
        recolour(classes, palette)


def choose_classes(classes: ClassTable, names: Sequence[str] | None, option: str) -> tuple[int, ...] | None:
    """The train ids of classes by name; None where none are named.

    Raises:
        IcnetError: USAGE for a name that is none of the classes, with the nearest ones and all.
    """
    if names is None:
        return None
    unknown = [name for name in names if name not in classes.names]
    if unknown:
        lower = {name.lower(): name for name in classes.names}
        near = [lower[name] for word in unknown for name in get_close_matches(word.lower(), lower, 1, _NEAR)]
        meant = f" ({', '.join(dict.fromkeys(near))}?)" if near else ""
        known = ", ".join(classes.names)
        raise usage_error(
            f"{option}: no class is called {', '.join(unknown)}{meant}; the classes are {known}"
        )
    return tuple(sorted({classes.names.index(name) for name in names}))


class Artist:
    """Makes of a picture and its labels what the sink takes.

    Args:
        config: view, alpha, legend, ids, only and blur are taken from it.
        view: as it was settled.
        source: whose planes are painted on, in their own matrix and range.
        classes: names and, by now, the colours that were asked for.

    Raises:
        IcnetError: USAGE for a class in --only or --blur that is not there.
    """

    def __init__(
        self, config: SegmentConfig, view: str, source: VideoSource | PictureSource, classes: ClassTable
    ) -> None:
        self._view, self._alpha, self._legend = view, config.alpha, config.legend
        self._names, self._palette = classes.names, classes.palette_array()
        self._values = classes.ids_of_train_ids() if config.ids == "dataset" else None
        self._only = choose_classes(classes, config.only, "--only")
        hidden = choose_classes(classes, config.blur, "--blur")
        self._blur = None if hidden is None else Blur(hidden)
        self.colour = YuvColour()
        if isinstance(source, VideoSource):
            colour = source.reader.info.colour
            self.colour = YuvColour.named(colour.matrix_name, colour.full_range)
        self.output_size: tuple[int, int] | None = None

    @property
    def paints(self) -> bool:
        """Whether it paints, or passes labels on."""
        return self._view != "labels"

    def painter_on_planes(self, size: tuple[int, int]) -> Painter | None:
        """What paints pictures of that size; None where labels are passed on."""
        return self._painter(size) if self.paints else None

    def label_colours(self) -> NDArray[np.uint8]:
        """(256, 3) RGB of the values of a label picture, for whoever shows one."""
        colours = np.full((256, 3), 128, np.uint8)
        numbers = (
            np.arange(len(self._palette)) if self._values is None else self._values[: len(self._palette)]
        )
        colours[numbers] = self._palette
        return colours

    def render(self, picture: Picture, labels: Labels) -> Rendered:
        """What is written for one picture: labels, or the picture painted on its planes where it has them."""
        if self._view == "labels":
            self.output_size = picture.size
            return labels if self._values is None else cv2.LUT(labels, self._values)
        painter = self._painter(picture.size)
        self.output_size = painter.output_size(picture.size)
        if picture.planes is not None:
            return painter.paint_planes(picture.planes, labels, self.colour)
        return painter.paint_rgb(picture.rgb, labels)

    @lru_cache(maxsize=4)  # noqa: B019  (an artist lives as long as its job; pictures may differ in size)
    def _painter(self, size: tuple[int, int]) -> Painter:
        return Painter(
            self._palette, self._view, self._alpha, self._legend_for(size), only=self._only, blur=self._blur
        )

    def _legend_for(self, size: tuple[int, int]) -> Legend | None:
        """A legend of the classes that are shown."""
        if not self._legend:
            return None
        shown = list(range(len(self._names)) if self._only is None else self._only)
        return Legend([self._names[index] for index in shown], self._palette[shown], size)
