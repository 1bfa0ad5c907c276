"""What is measured of a network between two cuts: its size, its speed and its accuracy."""

from __future__ import annotations

import torch

from icnet_cli.evaluation.network import Pairs, evaluate_network
from icnet_cli.models import Network
from icnet_cli.models.count import cost
from icnet_cli.pruning.latency import measure_ms
from icnet_cli.pruning.state import Row
from icnet_cli.training.run import Run


class Gauge:
    """Measures networks on one device.

    Args:
        tuning: has the pictures; without it, or without a split to validate on, there is no accuracy.
        size: of the picture (height, width) that operations and milliseconds are of.
    """

    def __init__(
        self, tuning: Run | None, size: tuple[int, int], device: torch.device, precision: str
    ) -> None:
        self.size, self.device, self.precision = size, device, precision
        self.pairs: Pairs | None = tuning.val if tuning else None
        self._tuning = tuning

    def row(self, network: Network, keep: float) -> Row:
        """A row of the report, without its accuracies."""
        parameters, operations = cost(network, *self.size)
        return Row(keep, round(parameters, 4), round(operations, 4), round(self.ms(network), 4))

    def ms(self, network: Network) -> float:
        return measure_ms(network, self.size, self.device, self.precision)

    def miou(self, network: Network) -> float | None:
        return None if self.pairs is None else self.miou_on(network, self.pairs)

    def miou_on(self, network: Network, pairs: Pairs) -> float:
        assert self._tuning is not None
        size, normalisation = self._tuning.input_size, self._tuning.recipe.normalisation
        network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return float(evaluate_network(network, pairs, size, self.device, normalisation).miou)
