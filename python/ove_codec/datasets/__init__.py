"""Offline selection of whole data sets: clips from anywhere to shards of selections."""

from ove_codec.datasets.bulk_transcoding import TranscodingSummary, transcode_folder
from ove_codec.datasets.clips import Clip, Failure, Listing, list_clips
from ove_codec.datasets.report import Report, write_report
from ove_codec.datasets.run import Summary, select_dataset
from ove_codec.datasets.tables import failure_table, selection_table

__all__ = [
    "Clip",
    "Failure",
    "Listing",
    "Report",
    "Summary",
    "TranscodingSummary",
    "failure_table",
    "list_clips",
    "select_dataset",
    "selection_table",
    "transcode_folder",
    "write_report",
]
