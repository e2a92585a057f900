"""The pages of a run: what `trine evaluate` found, and several runs side by side."""

from trine.run.pages.compared import comparison_page
from trine.run.pages.single import evaluation_page
from trine.run.pages.subject import Subject, subject_of

__all__ = ["Subject", "comparison_page", "evaluation_page", "subject_of"]
