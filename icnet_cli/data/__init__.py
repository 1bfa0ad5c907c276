"""Datasets on disk: layouts, pairs of image and labels, augmentation, the dataset doctor."""

from __future__ import annotations

from icnet_cli.data.augment import AugmentConfig, augment
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import Layout, Sample, recognise

__all__ = ["AugmentConfig", "Layout", "Sample", "SegmentationDataset", "augment", "recognise"]
