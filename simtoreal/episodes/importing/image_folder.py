"""A plain folder of images with a CSV file: one line per frame, columns by the names in its first line.

Without a mapping the names say what the columns are (see `COLUMNS`). A second file `poses.csv` may hold poses at a rate
of their own: they are then interpolated to the capture time of each image.
"""

import csv
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal import frames
from simtoreal.config import ImportConfig
from simtoreal.episodes.importing.row_frames import EpisodeFacts, RowReader
from simtoreal.episodes.importing.row_mapping import (
    CameraColumns,
    Columns,
    GripperColumns,
    JointColumns,
    Rotation,
    RowMapping,
    ToolColumns,
    parse_rows,
    read_yaml,
)
from simtoreal.episodes.importing.source import SourceEpisode, SourceError
