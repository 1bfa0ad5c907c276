"""Class tables: names, ids, train ids, colours and categories, read from YAML files beside this one.

Cityscapes' own words: the `id` is the value in a dataset's label file, the `train_id` the network's
class index (0 to K - 1), and the train id 255 means ignored. A user's `classes.yaml` has the same form
(docs/datasets.md).
"""

from __future__ import annotations

from icnet_cli.classes.parse import read_table
from icnet_cli.classes.table import IGNORE_INDEX, ClassTable
from icnet_cli.classes.tables import TABLES, load_table

__all__ = ["IGNORE_INDEX", "TABLES", "ClassTable", "load_table", "read_table"]
