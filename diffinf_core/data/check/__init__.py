"""What there is to say about a data set before anything is trained on it."""

from diffinf_core.data.check.result import Checked, Example, Finding
from diffinf_core.data.check.run import check_data_set

__all__ = ["Checked", "Example", "Finding", "check_data_set"]
