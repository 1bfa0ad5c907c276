"""What each command can be told: one frozen dataclass a command.

The text beside a field is its help on the command line (`cli/options.py` turns the
dataclass into options, so none is written twice), and the bounds beside it are checked
by `check()`, which collects every problem and raises once, before the disk or the GPU
is touched. Sizes are (height, width); seconds end in `_s`.
"""

from __future__ import annotations

from icnet_cli.config.bench import PUBLISHED_TABLES, BenchConfig
from icnet_cli.config.compare import CompareConfig
from icnet_cli.config.doctor import DoctorConfig
from icnet_cli.config.eval import EvalConfig
from icnet_cli.config.fields import Config, flag_of, option
from icnet_cli.config.files import (
    EXPORT_SUFFIXES,
    DataCheckConfig,
    ExportConfig,
    WeightsConfig,
    WeightsImportConfig,
    WeightsListConfig,
    WeightsVerifyConfig,
)
from icnet_cli.config.report import ReportConfig
from icnet_cli.config.segment import PaintConfig, SegmentConfig
from icnet_cli.config.shared import (
    BACKENDS,
    BRANCHES,
    DEFAULT_WEIGHTS,
    IDS,
    MAX_PIXELS,
    MODELS,
    PRECISIONS,
    STDOUT,
    VIEWS,
)
from icnet_cli.config.train import PRUNE_STEPS, PruneConfig, TrainConfig

__all__ = [
    "BACKENDS",
    "BRANCHES",
    "COMMANDS",
    "DEFAULT_WEIGHTS",
    "EXPORT_SUFFIXES",
    "IDS",
    "MAX_PIXELS",
    "MODELS",
    "PRECISIONS",
    "PRUNE_STEPS",
    "PUBLISHED_TABLES",
    "STDOUT",
    "VIEWS",
    "BenchConfig",
    "CompareConfig",
    "Config",
    "DataCheckConfig",
    "DoctorConfig",
    "EvalConfig",
    "ExportConfig",
    "PaintConfig",
    "PruneConfig",
    "ReportConfig",
    "SegmentConfig",
    "TrainConfig",
    "WeightsConfig",
    "WeightsImportConfig",
    "WeightsListConfig",
    "WeightsVerifyConfig",
    "flag_of",
    "option",
]

# The command's words on the command line, and what it can be told: also the sections of a config file.
COMMANDS: dict[str, type[Config]] = {
    "segment": SegmentConfig,
    "paint": PaintConfig,
    "train": TrainConfig,
    "prune": PruneConfig,
    "eval": EvalConfig,
    "bench": BenchConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
    "data check": DataCheckConfig,
    "weights list": WeightsListConfig,
    "weights show": WeightsConfig,
    "weights path": WeightsConfig,
    "weights verify": WeightsVerifyConfig,
    "weights import": WeightsImportConfig,
    "export": ExportConfig,
    "doctor": DoctorConfig,
}
