"""The pages of a run: what `trine evaluate` found, and several runs side by side."""

from trine.report.pages.comparison import comparison_page
from trine.report.pages.context import Subject, subject_of
from trine.report.pages.evaluation import evaluation_page

__all__ = ["Subject", "comparison_page", "evaluation_page", "subject_of"]
