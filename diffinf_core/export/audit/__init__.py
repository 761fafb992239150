"""The shortcut audit: can edits be recognised by anything but what they show, and does that tell the label?

A network takes what is easiest. Where edited pictures have another format, size, noise or border than the
rest, and some classes hold more of them, "edited" stands in for the label.
"""

from diffinf_core.export.audit.audit import audit_plan, run_audit, stored_audit

__all__ = ["audit_plan", "run_audit", "stored_audit"]
