"""What clients tell the endpoint: events are kept in the log, and the next answer for their user knows them."""

from longtail.serving.events.recorder import EventRecorder, open_log

__all__ = ["EventRecorder", "open_log"]
